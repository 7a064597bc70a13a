"""What happens to the process: its end, fork, signals. Each test is a program of its own."""

import os
import signal
import sys

import pytest

# -- the end of the interpreter --------------------------------------------------------------------


def test_after_run_the_interpreter_exits_cleanly(script):
    done = script(
        """
        import rtsync

        async def child():
            await rtsync.sleep(0.001)

        async def main():
            for t in [rtsync.thread(child) for _ in range(100)]:
                await t.join()
            print("over")

        rtsync.run(main, workers=2)
        """
    )
    assert (done.stdout, done.stderr) == ("over\n", "")


def test_threads_left_behind_do_not_disturb_the_exit(script):
    done = script(
        """
        import rtsync

        async def blocked():
            try:
                await rtsync.Channel().get()
            finally:
                print("clean")

        def backed():
            rtsync.block_on(rtsync.Channel().get())

        async def main():
            for _ in range(3):
                rtsync.thread(blocked)
                rtsync.thread(backed)
            await rtsync.sync(rtsync.idle())

        rtsync.run(main, workers=2)
        """
    )
    assert (done.stdout, done.stderr) == ("clean\n" * 3, "")


def test_a_thread_in_a_c_call_does_not_keep_the_process(script):
    done = script(
        """
        import time
        import rtsync

        begun = []

        async def sleeps():
            begun.append(1)
            time.sleep(1000)

        def backed():
            begun.append(1)
            time.sleep(1000)

        async def main():
            rtsync.thread(sleeps)
            rtsync.thread(backed)
            while len(begun) < 2:
                await rtsync.sleep(0)

        rtsync.run(main, workers=2)
        print("over")
        """
    )
    assert (done.stdout, done.stderr) == ("over\n", "")


def test_a_runtime_that_is_never_closed_does_not_disturb_the_exit(script):
    done = script(
        """
        import rtsync

        async def main():
            await rtsync.sleep(0.001)
            return 1

        runtime = rtsync.Runtime(2)
        runtime.start()
        print(runtime.run(main))
        """
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_a_daemon_os_thread_that_runs_a_runtime_does_not_keep_the_process(script):
    done = script(
        """
        import threading
        import rtsync

        begun = threading.Event()

        async def main():
            begun.set()
            while True:
                await rtsync.sleep(0.0001)

        threading.Thread(target=rtsync.run, args=(main,), daemon=True).start()
        begun.wait()
        print("over")
        """
    )
    assert done.stdout == "over\n"
    assert "Fatal" not in done.stderr


def test_an_exception_of_main_ends_the_program_with_a_traceback(script):
    done = script(
        """
        import rtsync

        async def main():
            raise ValueError("mine")

        rtsync.run(main)
        """,
        status=1,
    )
    assert "ValueError: mine" in done.stderr
    assert "in main" in done.stderr


def test_sys_exit_in_main_gives_the_exit_status(script):
    script(
        """
        import sys
        import rtsync

        async def main():
            sys.exit(7)

        rtsync.run(main)
        """,
        status=7,
    )


def test_importing_starts_nothing(script):
    done = script(
        """
        import threading
        import rtsync, rtsync.testing, rtsync.racket

        print(threading.active_count())
        """
    )
    assert (done.stdout, done.stderr) == ("1\n", "")


@pytest.mark.parametrize("module", ["aio", "atomic", "place", "ports", "racket", "testing"])
def test_one_import_is_enough_for_all(script, module):
    done = script(
        f"""
        import rtsync as rt

        print("{module}" in dir(rt), rt.{module}.__name__)
        """
    )
    assert (done.stdout, done.stderr) == (f"True rtsync.{module}\n", "")


# -- fork ------------------------------------------------------------------------------------------

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


@needs_fork
def test_a_runtime_used_in_a_forked_child_is_refused_with_a_clear_error(script):
    done = script(
        """
        import os, sys, warnings
        import rtsync

        warnings.simplefilter("ignore")

        async def main():
            child = os.fork()
            if child:
                _, status = os.waitpid(child, 0)
                print("status", os.waitstatus_to_exitcode(status))
                return
            await rtsync.sleep(0.001)
            print("went on")  # must not be reached

        rtsync.run(main, workers=2)
        """
    )
    assert "went on" not in done.stdout
    assert "forked" in done.stderr
    assert "rtsync.run" in done.stderr
    assert "status 0" not in done.stdout


@needs_fork
def test_the_error_of_a_forked_child_can_be_caught_and_the_child_may_leave(script):
    done = script(
        """
        import os, sys, warnings
        import rtsync

        warnings.simplefilter("ignore")

        async def main():
            child = os.fork()
            if child:
                _, status = os.waitpid(child, 0)
                print("status", os.waitstatus_to_exitcode(status))
                return
            try:
                await rtsync.sleep(0.001)
            except rtsync.ForkError:
                os._exit(5)

        rtsync.run(main, workers=2)
        """
    )
    assert done.stdout == "status 5\n"


@needs_fork
def test_a_forked_child_that_execs_or_exits_is_fine(script):
    done = script(
        """
        import os, subprocess, sys, warnings
        import rtsync

        warnings.simplefilter("ignore")

        async def main():
            child = os.fork()
            if not child:
                os._exit(3)
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status))
            print(subprocess.run([sys.executable, "-c", "print(4)"], capture_output=True, text=True).stdout)
            await rtsync.sleep(0.001)
            return "still works"

        print(rtsync.run(main, workers=2))
        """
    )
    assert done.stdout.split() == ["3", "4", "still", "works"]


@needs_fork
def test_a_forked_child_of_another_os_thread_may_run_a_runtime_of_its_own(script):
    done = script(
        """
        import os, sys, threading, warnings
        import rtsync

        warnings.simplefilter("ignore")
        gate, begun = rtsync.Semaphore(), threading.Event()

        async def parent():
            begun.set()
            await gate.wait()

        async def own():
            await rtsync.sleep(0.001)
            return sum([await rtsync.thread(n_plus_one, n).join() for n in range(10)])

        async def n_plus_one(n):
            return n + 1

        t = threading.Thread(target=rtsync.run, args=(parent,))
        t.start()
        begun.wait()
        child = os.fork()
        if not child:
            os._exit(rtsync.run(own, workers=2))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status))
        gate.post()
        t.join()
        """
    )
    assert done.stdout == "55\n"


@needs_fork
def test_a_runtime_of_the_parent_is_refused_in_a_forked_child(script):
    done = script(
        """
        import os, warnings
        import rtsync

        warnings.simplefilter("ignore")

        async def main():
            return 1

        with rtsync.Runtime(2) as runtime:
            print(runtime.run(main), flush=True)
            child = os.fork()
            if not child:
                try:
                    runtime.run(main)
                except rtsync.ForkError:
                    os._exit(5)
                os._exit(6)
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status))
            print(runtime.run(main))
        """
    )
    assert done.stdout == "1\n5\n1\n"


@needs_fork
def test_block_on_in_the_forked_child_of_an_os_backed_thread_is_refused(script):
    done = script(
        """
        import os, warnings
        import rtsync

        warnings.simplefilter("ignore")

        def main():
            child = os.fork()
            if not child:
                try:
                    rtsync.block_on(rtsync.sleep(0.001))
                except rtsync.ForkError:
                    os._exit(5)
                os._exit(6)
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status))

        rtsync.run(main)
        """
    )
    assert done.stdout == "5\n"


@needs_fork
@pytest.mark.parametrize("kind", ["", "async "])
def test_a_thread_in_a_forked_child_is_refused_at_every_operation(script, kind):
    done = script(
        f"""
        import os, warnings
        import rtsync

        warnings.simplefilter("ignore")

        async def three():
            for _ in range(3):
                try:
                    await rtsync.Channel().get()
                except rtsync.ForkError:
                    print("refused", flush=True)
            try:
                rtsync.thread(print, "never")
            except rtsync.NoRuntime:
                print("refused", flush=True)

        {kind}def main():
            child = os.fork()
            if not child:
                {"await three()" if kind else "rtsync.block_on(three())"}
                return
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status))

        rtsync.run(main)
        """
    )
    assert done.stdout == "refused\n" * 4 + "0\n"


@needs_fork
@pytest.mark.parametrize("kind", ["", "async "])
@pytest.mark.parametrize(
    ("end", "status", "error"),
    [("return 3", 0, ""), ("sys.exit(4)", 4, ""), ("sys.exit('bad')", 1, "bad"), ("1 / 0", 70, "by zero")],
)
def test_a_forked_child_ends_with_the_thread_that_forked(script, kind, end, status, error):
    done = script(
        f"""
        import os, sys, warnings
        import rtsync

        warnings.simplefilter("ignore")

        {kind}def main():
            child = os.fork()
            if not child:
                {end}
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status))

        rtsync.run(main)
        """
    )
    assert done.stdout == f"{status}\n"
    assert error in done.stderr
    assert bool(error) == bool(done.stderr)
    assert "coroutine" not in done.stderr


@needs_fork
@pytest.mark.parametrize("kind", ["", "async "])
def test_a_forked_child_of_a_thread_may_run_a_runtime_of_its_own(script, kind):
    done = script(
        f"""
        import os, warnings
        import rtsync

        warnings.simplefilter("ignore")

        async def own():
            await rtsync.sleep(0.001)
            return await rtsync.thread(sum, [2, 3]).join()

        {kind}def main():
            child = os.fork()
            if not child:
                assert rtsync.run(own) == 5
                try:
                    rtsync.current_thread()
                    {"await rtsync.sleep(1)" if kind else "rtsync.block_on(rtsync.sleep(1))"}
                except rtsync.ForkError:
                    return  # it is what it was before
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status))

        rtsync.run(main)
        """
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


# -- signals ---------------------------------------------------------------------------------------


def test_keyboard_interrupt_ends_run_and_all_clean_up_runs(script):
    done = script(
        """
        import os, signal, threading
        import rtsync

        never = rtsync.Channel()  # known here: else it would be garbage, and so the thread

        async def blocked():
            try:
                await never.get()
            finally:
                print("blocked: clean")

        async def main():
            rtsync.thread(blocked)
            try:
                threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
                await rtsync.sleep(1000)
            finally:
                print("main: clean")

        try:
            rtsync.run(main, workers=2)
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    assert done.stdout == "main: clean\nblocked: clean\ninterrupted\n"


def test_keyboard_interrupt_arrives_as_a_break_in_the_main_thread(script):
    done = script(
        """
        import os, signal, threading
        import rtsync

        async def main():
            try:
                threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
                await rtsync.sleep(1000)
            except rtsync.Break as error:
                print(type(error).__name__)
            await rtsync.sleep(0.001)
            return "went on"

        print(rtsync.run(main, workers=2))
        """
    )
    assert done.stdout == "Break\nwent on\n"


def test_keyboard_interrupt_reaches_a_main_thread_that_computes(script):
    done = script(
        """
        import os, signal, threading
        import rtsync

        async def main():
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
            while True:
                pass

        try:
            rtsync.run(main, workers=2)
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    assert done.stdout == "interrupted\n"


def test_keyboard_interrupt_reaches_a_plain_main(script):
    done = script(
        """
        import os, signal, threading
        import rtsync

        def main():
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
            rtsync.block_on(rtsync.Channel().get())

        try:
            rtsync.run(main, workers=2)
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    assert done.stdout == "interrupted\n"


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGTERM, "BreakTerminate"), (signal.SIGHUP, "BreakHangUp")]
)
def test_the_other_signals_arrive_as_breaks_and_end_run_with_128_plus_their_number(script, number, kind):
    done = script(
        f"""
        import os, signal, threading
        import rtsync

        async def main():
            try:
                threading.Timer(0.3, os.kill, (os.getpid(), {int(number)})).start()
                await rtsync.sleep(1000)
            except BaseException as error:
                print(type(error).__name__)
                raise

        rtsync.run(main, workers=2)
        """,
        status=128 + number,
    )
    assert done.stdout == f"{kind}\n"
    assert done.stderr == ""


def test_the_old_signal_handlers_are_put_back(script):
    done = script(
        """
        import signal
        import rtsync

        async def main():
            await rtsync.sleep(0.001)

        async def fails():
            raise ValueError

        numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
        signal.signal(signal.SIGHUP, lambda number, frame: None)
        before = [signal.getsignal(number) for number in numbers]
        rtsync.run(main)
        print([signal.getsignal(number) for number in numbers] == before)
        try:
            rtsync.run(fails)
        except ValueError:
            pass
        print([signal.getsignal(number) for number in numbers] == before)
        """
    )
    assert done.stdout == "True\nTrue\n"


def test_run_in_another_os_thread_leaves_the_signals_alone(script):
    done = script(
        """
        import signal, threading
        import rtsync

        before = signal.getsignal(signal.SIGTERM)

        async def main():
            await rtsync.sleep(0.001)
            return signal.getsignal(signal.SIGTERM) == before

        results = []
        t = threading.Thread(target=lambda: results.append(rtsync.run(main)))
        t.start()
        t.join()
        print(results)
        """
    )
    assert done.stdout == "[True]\n"


def test_this_python_is_the_one_the_programs_ran_on(script):
    done = script("import sys; print(sys.version)")
    assert done.stdout.strip() == sys.version
