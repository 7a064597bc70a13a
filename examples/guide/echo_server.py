"""Guide 18.6, Synchronizable Events and sync: the TCP echo server. With Racket's names.

`serve` waits for a line, for a message in the thread's mailbox, or two seconds, whichever comes first. The
client sends three lines and copies what comes back to the output; `copy_port` blocks until the end of its
input, which comes when the server, after two seconds of silence, abandons its ports.

Racket's ``tcp-listen`` takes a fixed port number here; with 0 the system chooses a free one.
"""

from rtsync.ports import InputPort, Listener, OutputPort
from rtsync.racket import (
    copy_port,
    current_output_port,
    flush_output,
    is_eof_object,
    read_line_evt,
    run,
    sync_timeout,
    tcp_abandon_port,
    tcp_accept,
    tcp_addresses,
    tcp_close,
    tcp_connect,
    tcp_listen,
    thread,
    thread_receive,
    thread_receive_evt,
    thread_wait,
    write_string,
)


async def serve(in_port: InputPort, out_port: OutputPort) -> None:
    """Echo the lines of ``in_port``, until none has come for two seconds."""
    while True:
        evt = await sync_timeout(2, read_line_evt(in_port, "any"), thread_receive_evt())
        if evt is None or is_eof_object(evt):
            print("Timed out, exiting" if evt is None else "The client is gone, exiting")
            tcp_abandon_port(in_port)
            await tcp_abandon_port(out_port)
            return
        if isinstance(evt, str):
            await write_string(f"{evt}\n", out_port)
            await flush_output(out_port)
        else:
            print(f"Received a message in mailbox: {await thread_receive()}")


def start_server(port_num: int) -> Listener:
    """Listen at ``port_num``, and serve one connection in a thread of its own."""
    listener = tcp_listen(port_num, hostname="localhost")

    async def accept() -> None:
        in_port, out_port = await tcp_accept(listener)
        await serve(in_port, out_port)

    thread(accept)
    return listener


async def main() -> None:
    """The server, and a client that talks to it."""
    listener = start_server(0)
    port_num = tcp_addresses(listener, True)[1]

    async def client() -> None:
        in_port, out_port = await tcp_connect("localhost", port_num)
        await write_string("first\nsecond\nthird\n", out_port)
        await flush_output(out_port)
        # copy_port will block until the end of in_port has been read
        await copy_port(in_port, current_output_port())
        tcp_abandon_port(in_port)
        await tcp_abandon_port(out_port)

    # Without thread_wait, the main thread might end before the others.
    await thread_wait(thread(client))
    tcp_close(listener)


if __name__ == "__main__":
    run(main)
