"""The pytest plugin, as its users meet it. Each test runs pytest on a small file of tests."""

import pytest


@pytest.fixture
def outcome(pytester, monkeypatch):
    """Run pytest, in this process and with our plugin alone, on a file with this text: the result."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(text, *args):
        pytester.makepyfile(
            "import pytest, rtsync\nfrom rtsync import *\n" + text.replace("\n        ", "\n")
        )
        return pytester.runpytest_inprocess(
            "-p",
            "rtsync.pytest_plugin",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:faulthandler",
            "--strict-markers",
            *args,
        )

    return run


def test_an_async_test_runs_without_a_marker_under_several_seeds(outcome):
    result = outcome(
        """
        runs = []

        async def test_one():
            runs.append(current_thread().runtime.seed)
            await sleep(1000)  # virtual

        def test_two():
            assert runs == [0, 1, 2, 3, 4]
        """
    )
    result.assert_outcomes(passed=2)


def test_seeds_says_how_many(outcome):
    result = outcome(
        """
        runs = []

        @pytest.mark.rtsync(seeds=17)
        async def test_one():
            runs.append(current_thread().runtime.seed)

        def test_two():
            assert runs == list(range(17))
        """
    )
    result.assert_outcomes(passed=2)


def test_seed_says_which(outcome):
    result = outcome(
        """
        @pytest.mark.rtsync(seed=17)
        async def test_one():
            assert current_thread().runtime.seed == 17
        """
    )
    result.assert_outcomes(passed=1)


def test_workers_means_a_real_runtime(outcome):
    result = outcome(
        """
        runs = []

        @pytest.mark.rtsync(workers=2, runs=3)
        async def test_one():
            runs.append(current_thread().runtime.target)

        def test_two():
            assert runs == [2, 2, 2]
        """
    )
    result.assert_outcomes(passed=2)


def test_a_test_that_computes_can_be_stopped(outcome):
    result = outcome(
        """
        @pytest.mark.rtsync(workers=2)
        async def test_one():
            me = current_thread()
            with pytest.raises(KeyboardInterrupt):
                thread(me.break_)
                while True:
                    pass
        """
    )
    result.assert_outcomes(passed=1)


def test_a_failure_names_its_seed_in_the_traceback_and_in_a_section(outcome):
    result = outcome(
        """
        @pytest.mark.rtsync(seeds=50)
        async def test_one():
            assert current_thread().runtime.seed != 23
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*rtsync: failed with seed 23; repeat with --rtsync-seed=23*"])
    result.stdout.fnmatch_lines(["*- Captured rtsync call -*", "*seed 23*"])


def test_the_seed_option_repeats_a_failure(outcome):
    text = """
        async def test_one():
            assert current_thread().runtime.seed != 23

        @pytest.mark.rtsync(seeds=3)
        async def test_two():
            assert current_thread().runtime.seed == 23
        """
    outcome(text, "--rtsync-seed=23").assert_outcomes(passed=1, failed=1)
    outcome(text, "-k", "one").assert_outcomes(passed=1, deselected=1)


def test_the_seeds_option_says_how_many_where_the_test_does_not(outcome):
    result = outcome(
        """
        runs = []

        async def test_one():
            runs.append(1)

        @pytest.mark.rtsync(seeds=2)
        async def test_two():
            runs.append(2)

        def test_three():
            assert runs == [1] * 9 + [2] * 2
        """,
        "--rtsync-seeds=9",
    )
    result.assert_outcomes(passed=3)


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_a_number_of_seeds_with_which_nothing_would_run_is_refused(outcome, number):
    result = outcome("async def test_one(): pass", f"--rtsync-seeds={number}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--rtsync-seeds: must be a positive integer, got {number}"])


def test_a_failure_on_a_real_runtime_names_the_run(outcome):
    result = outcome(
        """
        runs = []

        @pytest.mark.rtsync(workers=2, runs=5)
        async def test_one():
            runs.append(1)
            assert len(runs) < 3
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*rtsync: failed with 2 worker(s), run 3 of 5*"])


def test_fixtures_resolve_as_usual(outcome):
    result = outcome(
        """
        made = []

        @pytest.fixture
        def thing():
            made.append("made")
            yield "thing"
            made.append("gone")

        @pytest.mark.parametrize("n", [1, 2])
        async def test_one(thing, n, tmp_path):
            assert thing == "thing"
            assert n in (1, 2)
            assert tmp_path.exists()

        def test_two():
            assert made == ["made", "gone"] * 2
        """
    )
    result.assert_outcomes(passed=3)


def test_methods_of_classes(outcome):
    result = outcome(
        """
        class TestThings:
            async def test_one(self):
                assert current_thread()

            @pytest.mark.rtsync(seeds=2)
            async def test_two(self):
                assert self
        """
    )
    result.assert_outcomes(passed=2)


def test_a_marked_plain_test_runs_in_an_os_backed_thread(outcome):
    result = outcome(
        """
        @pytest.mark.rtsync(seeds=2)
        def test_one():
            block_on(sleep(1000))
            assert current_thread()
        """
    )
    result.assert_outcomes(passed=1)


def test_a_plain_test_without_the_marker_is_left_alone(outcome):
    result = outcome(
        """
        def test_one():
            with pytest.raises(NoRuntime):
                current_thread()
        """
    )
    result.assert_outcomes(passed=1)


def test_skip_xfail_and_raises_work_inside(outcome):
    result = outcome(
        """
        async def test_one():
            pytest.skip("not today")

        async def test_two():
            pytest.xfail("known")

        @pytest.mark.xfail
        async def test_three():
            assert False

        @pytest.mark.skip
        async def test_four():
            assert False

        async def test_five():
            with pytest.raises(ValueError):
                raise ValueError
        """
    )
    result.assert_outcomes(passed=1, skipped=2, xfailed=2)


def test_a_deadlock_fails_the_test_with_its_report(outcome):
    result = outcome(
        """
        async def test_one():
            await Channel().get()
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Deadlock*", "*test_one*Channel.get*"])


def test_an_assertion_that_fails_in_another_thread_fails_the_test(outcome):
    result = outcome(
        """
        async def test_one():
            async def child():
                assert 1 == 2

            await thread(child, name="Tom").wait()

        @pytest.mark.rtsync(workers=2)
        async def test_two():
            async def child():
                pytest.fail("in the child")

            await thread(child).wait()
        """
    )
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*assert 1 == 2*", "*in thread Tom*"])


def test_other_exceptions_in_other_threads_are_reported_only(outcome):
    result = outcome(
        """
        async def test_one():
            async def child():
                raise ValueError("for the log")

            await thread(child).wait()
        """,
        "-rP",
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*ValueError: for the log*"])


def test_an_assertion_that_main_joins_and_expects_is_no_failure_with_a_handler_of_its_own(outcome):
    result = outcome(
        """
        async def test_one():
            async def child():
                assert False

            uncaught_exception_handler(lambda thread, error: None)
            with pytest.raises(AssertionError):
                await thread(child).join()
        """
    )
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("marker", "complaint"),
    [
        ("seeds=0", "seeds must be at least 1"),
        ("seeds='x'", "seeds must be an integer"),
        ("seeds=1, seed=1", "seed= or seeds=, not both"),
        ("workers=0", "workers must be at least 1"),
        ("workers=2, seeds=3", "does not take seeds with workers="),
        ("runs=3", "does not take runs"),
        ("sedes=3", "does not take sedes"),
        ("3", "takes keywords only"),
    ],
)
def test_a_wrong_marker_is_refused(outcome, marker, complaint):
    result = outcome(
        f"""
        @pytest.mark.rtsync({marker})
        async def test_one():
            pass
        """
    )
    assert result.ret != 0
    result.stdout.fnmatch_lines([f"*{complaint}*"])


def test_tests_of_other_plugins_are_left_to_them(outcome):
    result = outcome(
        """
        @pytest.mark.asyncio
        async def test_one():
            pass
        """,
        "-W",
        "ignore",
        "-o",
        "markers=asyncio: theirs",
    )
    # Nobody else is there to run it, which pytest itself complains about.
    result.assert_outcomes(failed=1)


def test_hypothesis_runs_each_example_in_a_runtime(outcome):
    pytest.importorskip("hypothesis")
    result = outcome(
        """
        from hypothesis import given, settings, strategies as st

        seen = set()

        @settings(max_examples=20, database=None, deadline=None)
        @given(n=st.integers(0, 3))
        async def test_one(n):
            seen.add(n)
            ch = AsyncChannel()
            await ch.put(n)
            assert await ch.get() == n

        @pytest.mark.rtsync(seeds=1)
        @settings(max_examples=50, database=None, deadline=None)
        @given(n=st.integers())
        async def test_two(n):
            assert n < 100

        def test_three():
            assert seen
        """
    )
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*n=100*"])


def test_what_hypothesis_and_several_items_share_is_run_for_each_of_them(outcome):
    pytest.importorskip("hypothesis")
    result = outcome(
        """
        from hypothesis import given, settings, strategies as st

        few = settings(max_examples=3, database=None, deadline=None)

        @pytest.mark.parametrize("n", [1, 2, 3])
        @pytest.mark.rtsync(workers=1)
        @few
        @given(x=st.integers())
        async def test_one(x, n):
            await sleep()

        @pytest.mark.parametrize("n", [1, 2, 3])
        @pytest.mark.rtsync(seeds=1)
        @few
        @given(x=st.integers())
        def test_two(x, n):
            block_on(sleep(1))

        @pytest.mark.parametrize("n", [1, 2, 3])
        @few
        @given(x=st.integers())
        async def test_three(x, n):
            assert current_thread().name == f"test_three[{n}]"
            assert n < 3
        """
    )
    result.assert_outcomes(passed=8, failed=1)
    assert str(result.stdout).count("- Captured rtsync call -") == 1


def test_the_marker_is_described(outcome):
    result = outcome("", "--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.rtsync(*"])


def test_the_name_of_the_main_thread_is_that_of_the_test(outcome):
    result = outcome(
        """
        async def test_one():
            assert current_thread().name == "test_one"
        """
    )
    result.assert_outcomes(passed=1)
