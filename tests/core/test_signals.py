"""SPEC §3 and §6: Ctrl-C, SIGHUP and SIGTERM, sent by another process to a program that says where it is."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INT, HUP, TERM = signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGTERM), signal.SIGTERM
NAMES = {INT: "Break", HUP: "BreakHangUp", TERM: "BreakTerminate"}

HEAD = """
import faulthandler, os, sys, time
faulthandler.dump_traceback_later(150, exit=True)
import rtsync

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

async def asleep():
    await rtsync.sleep(1000)  # so that whoever waits for ever is not deadlocked

def run(main, **options):
    try:
        rtsync.run(main, workers=2, **options)
    except KeyboardInterrupt as error:
        say("run raised", type(error).__name__)
"""

Start = Callable[[str], "Program"]


class Program:
    """A program in a process of its own."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", path],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        """The next line that it says; it ends by itself if it hangs."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def finish(self) -> tuple[int, str]:
        """Its exit status, and what else it said. It must not have complained."""
        out, err = self.process.communicate()
        assert err == ""
        return self.process.returncode, out


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Start]:
    started: list[Program] = []

    def start(text: str) -> Program:
        path = tmp_path / "program.py"
        path.write_text(HEAD + textwrap.dedent(text))
        started.append(Program(path))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


# Where the main thread may be; each says "there" first.
PLACES = {
    "blocked": """
async def main():
    rtsync.thread(asleep)
    say('there')
    await rtsync.Channel().get()
""",
    "in a sync of several": """
async def main():
    rtsync.thread(asleep)
    say('there')
    await rtsync.sync(rtsync.Channel(), rtsync.Semaphore(), rtsync.nack_guard(lambda nack: rtsync.Channel()))
""",
    "asleep": "async def main(): say('there'); await rtsync.sleep(1000)",
    "computing": """
async def main():
    say('there')
    while True:
        pass
""",
    "yielding": """
async def main():
    say('there')
    while True:
        await rtsync.sleep(0)
""",
    "computing beside a hog": """
def hog():
    while True:
        pass

async def main():
    for _ in range(3):
        rtsync.thread(hog)
    say('there')
    while True:
        pass
""",
    "blocked, plain": """
def main():
    rtsync.thread(asleep)
    say('there')
    rtsync.block_on(rtsync.Channel().get())
""",
    "asleep, plain": "def main(): say('there'); rtsync.block_on(rtsync.sleep(1000))",
    "computing, plain": """
def main():
    say('there')
    while True:
        pass
""",
}


@pytest.mark.parametrize("number", [INT, HUP, TERM], ids=["SIGINT", "SIGHUP", "SIGTERM"])
@pytest.mark.parametrize("place", PLACES)
def test_a_signal_ends_run_wherever_the_main_thread_is(program: Start, place, number):
    p = program(f"{PLACES[place]}\nrun(main)")
    assert p.line() == "there"
    p.send(number)
    status, out = p.finish()
    if number == INT:
        assert (status, out) == (0, "run raised Break\n")
    else:
        assert (status, out) == (128 + number, "")


@pytest.mark.parametrize("number", [INT, HUP, TERM], ids=["SIGINT", "SIGHUP", "SIGTERM"])
@pytest.mark.parametrize("wait", ["await rtsync.Channel().get()", "while True: pass"])
def test_it_can_be_caught_again_and_again(program: Start, number, wait):
    p = program(
        f"""
        async def main():
            rtsync.thread(asleep)
            for turn in range(3):
                try:
                    say("turn", turn)
                    {wait}
                except rtsync.Break as error:
                    say("caught", type(error).__name__)

        run(main)
        """
    )
    for turn in range(3):
        assert p.line() == f"turn {turn}"
        p.send(number)
        assert p.line() == f"caught {NAMES[number]}"
    assert p.finish() == (0, "")


def test_a_signal_during_the_clean_up_of_the_first_waits_for_it(program: Start):
    p = program(
        """
        async def main():
            rtsync.thread(asleep)
            try:
                say("there")
                await rtsync.Channel().get()
            finally:
                say("cleaning")
                while not rtsync.current_thread().pending:  # until the second has arrived
                    await rtsync.sleep(0.001)
                await rtsync.sleep(0.1)
                say("clean")

        run(main)
        """
    )
    assert p.line() == "there"
    p.send(INT)
    assert p.line() == "cleaning"
    p.send(INT)
    assert p.finish() == (0, "clean\nrun raised Break\n")


@pytest.mark.parametrize("wait", ["await rtsync.sleep(0.01)", "sum(range(1000))"])
@pytest.mark.parametrize(
    ("first", "second", "comes"),
    [
        (INT, INT, INT),
        (INT, TERM, TERM),
        (TERM, INT, TERM),
        (HUP, INT, HUP),
        (INT, HUP, HUP),
        (HUP, TERM, TERM),
    ],
)
def test_of_two_signals_while_breaks_are_disabled_the_stronger_comes_once(
    program: Start, first, second, comes, wait
):
    p = program(
        f"""
        arrived = 0
        register = rtsync.Thread._register_break

        def counting(self, kind):
            global arrived
            target = register(self, kind)
            arrived += 1
            return target

        rtsync.Thread._register_break = counting

        async def main():
            with rtsync.breaks(False):
                for turn in range(2):
                    say("there")
                    while arrived == turn:
                        {wait}
                say("enables")
                try:
                    with rtsync.breaks(True):
                        await rtsync.sleep(1000)
                except rtsync.Break as error:
                    say("caught", type(error).__name__)
                with rtsync.breaks(True):
                    await rtsync.sleep(0.01)
            say("no more")

        run(main)
        """
    )
    assert p.line() == "there"
    p.send(first)
    assert p.line() == "there"
    p.send(second)
    assert p.finish() == (0, f"enables\ncaught {NAMES[comes]}\nno more\n")


def test_only_the_main_thread_gets_it(program: Start):
    p = program(
        """
        async def other(n):
            try:
                await rtsync.Channel().get()
            except rtsync.Break:
                say("wrong")
            finally:
                say("other clean")

        async def main():
            rtsync.thread(asleep)
            rtsync.thread(other, 1)
            await rtsync.sync(rtsync.idle())
            try:
                say("there")
                await rtsync.Channel().get()
            finally:
                say("main clean")

        run(main)
        """
    )
    assert p.line() == "there"
    p.send(INT)
    assert p.finish() == (0, "main clean\nother clean\nrun raised Break\n")


@pytest.mark.parametrize("number", [HUP, TERM], ids=["SIGHUP", "SIGTERM"])
def test_after_run_the_signal_does_again_what_it_did_before(program: Start, number):
    p = program(
        """
        async def main():
            await rtsync.sleep(0)

        run(main)
        say("over")
        time.sleep(100)
        """
    )
    assert p.line() == "over"
    p.send(number)
    assert p.finish() == (-number, "")


def test_a_signal_in_the_moment_of_the_end_is_not_torn(program: Start):
    """Signals all the time, while one run after another begins and ends: each returns or is interrupted."""
    p = program(
        """
        import signal

        async def child(n):
            await rtsync.sleep(0)
            return n

        async def main():
            return sum([await t.join() for t in [rtsync.thread(child, n) for n in range(10)]])

        signal.signal(signal.SIGINT, lambda *args: None)  # between two runs
        interrupted = 0
        say("there")
        for _ in range(100):
            try:
                assert rtsync.run(main, workers=2) == 45
            except KeyboardInterrupt:
                interrupted += 1
        say("over")
        """
    )
    assert p.line() == "there"
    while p.process.poll() is None:
        p.send(INT)
        try:
            p.process.wait(0.005)
        except subprocess.TimeoutExpired:
            continue
    status, out = p.finish()
    assert out == "over\n"
    assert status in (0, -INT)  # an interpreter on its way out no longer looks after signals


def test_a_signal_in_the_last_step_is_not_lost(program: Start):
    p = program(
        """
        import signal

        async def main():
            os.kill(os.getpid(), signal.SIGINT)

        interrupted = 0
        for _ in range(50):
            try:
                rtsync.run(main, workers=1)
            except KeyboardInterrupt:
                interrupted += 1
        say(interrupted)
        """
    )
    assert p.finish() == (0, "50\n")


@pytest.mark.parametrize("number", [INT, TERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_while_the_other_threads_are_shut_down_is_not_lost(program: Start, number):
    p = program(
        f"""
        async def other():
            try:
                await rtsync.sleep(1000)
            finally:
                os.kill(os.getpid(), {int(number)})

        async def main():
            rtsync.thread(other)
            await rtsync.sleep(0.01)

        run(main)
        say("went on")
        """
    )
    assert p.finish() == ((0, "run raised Break\nwent on\n") if number == INT else (128 + TERM, ""))


def test_a_signal_after_the_end_of_a_main_thread_that_nobody_knows_yet_is_not_lost(program: Start):
    p = program(
        """
        import signal

        class Late(rtsync.Runtime):
            def _start_main(self, main, args):
                thread = super()._start_main(main, args)
                rtsync.block_on(thread)
                signal.raise_signal(signal.SIGINT)
                return thread

        async def main():
            raise ValueError("its own")

        try:
            Late(1).run(main)
        except KeyboardInterrupt as error:
            say(type(error).__name__, repr(error.__context__))
        """
    )
    assert p.finish() == (0, "Break ValueError('its own')\n")


def test_a_runtime_whose_end_was_interrupted_can_run_again(program: Start):
    p = program(
        """
        class Interrupted(rtsync.Runtime):
            def close(self, *args):
                super().close(*args)
                raise KeyboardInterrupt

        async def main():
            return 1

        runtime = Interrupted(1)
        for _ in range(2):
            try:
                runtime.run(main)
            except KeyboardInterrupt:
                say("interrupted")
        """
    )
    assert p.finish() == (0, "interrupted\ninterrupted\n")


def test_a_signal_is_a_break_on_the_deterministic_scheduler_too(program: Start):
    p = program(
        """
        import signal, threading
        from rtsync.testing import run_deterministic

        async def main():
            ready.release()
            while True:
                await rtsync.sleep(1)

        def send():
            for _ in range(30):
                ready.acquire()
                os.kill(os.getpid(), signal.SIGINT)

        ready = threading.Semaphore(0)
        threading.Thread(target=send).start()
        for _ in range(30):
            try:
                run_deterministic(main)
            except rtsync.Break:
                pass
        say("over")
        """
    )
    assert p.finish() == (0, "over\n")


def test_a_request_in_a_handler_that_has_interrupted_another_one(script):
    done = script(
        """
        import rtsync, signal, threading

        handled, threads, ready, stop = [], [], threading.Event(), []

        async def main():
            async def computes():
                while True:
                    sum(range(100))

            threads.extend(rtsync.thread(computes) for _ in range(2))
            ready.set()
            while not stop:
                await rtsync.sleep(0.01)

        def handle(*_):
            handled.append(True)
            threads[0].suspend()
            threads[0].resume()
            signal.setitimer(signal.ITIMER_REAL, 0.0012)  # not before: they are not to pile up

        os_thread = threading.Thread(target=rtsync.run, args=(main,), kwargs={"workers": 3})
        os_thread.start()
        ready.wait()
        signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        while len(handled) < 40:
            threads[1].suspend()
            threads[1].resume()
        signal.signal(signal.SIGALRM, lambda *_: None)
        stop.append(True)
        os_thread.join()
        print("went on")
        """
    )
    assert done.stdout == "went on\n"
