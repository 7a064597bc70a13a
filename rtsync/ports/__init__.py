"""Ports: streams of bytes and text that threads can wait for like for anything else.

`port` explains how threads wait at a port, `input` and `output` are the two kinds, `descriptor` is what is
underneath. The others make ports: `pipe`, `files`, `standard`, `tcp`, `tls`, `process`.

Source: Racket Reference 13 (Input and Output), 15.3 (Networking).
"""

from .copy import copy_port
from .errors import EOF, LineTooLong, PortClosed
from .files import open_input, open_output
from .input import InputPort
from .listener import Listener
from .output import OutputPort
from .pipe import pipe
from .process import Process, subprocess
from .standard import current_error_port, current_input_port, current_output_port, stderr, stdin, stdout
from .tcp import (
    socket_ports,
    tcp_abandon_port,
    tcp_accept,
    tcp_accept_evt,
    tcp_addresses,
    tcp_close,
    tcp_connect,
    tcp_listen,
    unix_connect,
    unix_listen,
)
from .tls import start_tls, tls_object

__all__ = [
    "EOF",
    "InputPort",
    "LineTooLong",
    "Listener",
    "OutputPort",
    "PortClosed",
    "Process",
    "copy_port",
    "current_error_port",
    "current_input_port",
    "current_output_port",
    "open_input",
    "open_output",
    "pipe",
    "socket_ports",
    "start_tls",
    "stderr",
    "stdin",
    "stdout",
    "subprocess",
    "tcp_abandon_port",
    "tcp_accept",
    "tcp_accept_evt",
    "tcp_addresses",
    "tcp_close",
    "tcp_connect",
    "tcp_listen",
    "tls_object",
    "unix_connect",
    "unix_listen",
]
