"""Libraries made for asyncio, used from our threads: an HTTP client and server, and a database."""

import asyncio
import sys

import pytest

import rtsync as rt
from rtsync import Break, Channel, Semaphore, aio, thread

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed (extra: test)")
aiosqlite = pytest.importorskip("aiosqlite", reason="aiosqlite is not installed (extra: test)")
web = pytest.importorskip("aiohttp.web", reason="aiohttp is not installed (extra: test)")

# Before 3.14 the server makes its tasks past the loop's task factory, so that they are not driven.
directly = aio.wait if sys.version_info < (3, 14) else lambda operation: operation


async def serve(**routes):
    """Start a server of aiohttp with a GET route for each name; its URL and what stops it. In asyncio."""
    app = web.Application()
    for name, handler in routes.items():
        app.router.add_get(f"/{name}", handler)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}", runner.cleanup


async def fetch(url):
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def test_a_client_and_a_server_of_aiohttp_talk_through_our_threads():
    async def square(request):
        n = int(request.query["n"])
        squared = await directly(thread(compute, n).join())  # on any of the workers
        return web.Response(text=str(squared))

    async def compute(n):
        return n * n

    url, stop = await aio.run(serve(square=square))
    clients = [thread(aio.run, fetch(f"{url}/square?n={n}")) for n in range(20)]
    assert [await t.join() for t in clients] == [(200, str(n * n)) for n in range(20)]
    await aio.run(stop())


async def test_a_session_lives_from_one_run_to_the_next():
    async def hello(request):
        return web.Response(text="hello")

    url, stop = await aio.run(serve(hello=hello))

    async def connect():
        return aiohttp.ClientSession()

    async def get(session):
        async with session.get(f"{url}/hello") as response:
            return await response.text()

    session = await aio.run(connect())
    assert [await aio.run(get(session)) for _ in range(3)] == ["hello"] * 3
    await aio.run(session.close())
    await aio.run(stop())


async def test_a_server_of_aiohttp_waits_for_our_events():
    news = Channel()

    async def poll(request):
        return web.Response(text=await aio.wait(news))

    url, stop = await aio.run(serve(poll=poll))
    client = thread(aio.run, fetch(f"{url}/poll"))
    await news.put("extra, extra")
    assert await client.join() == (200, "extra, extra")
    await aio.run(stop())


async def test_a_break_ends_a_request_that_is_not_answered():
    rt.uncaught_exception_handler(lambda thread, error: None)
    asked, never = Semaphore(), Channel()

    async def silence(request):
        asked.post()
        return web.Response(text=await directly(never.get()))

    url, stop = await aio.run(serve(silence=silence))
    client = thread(aio.run, fetch(f"{url}/silence"))
    await asked.wait()
    client.break_()
    with pytest.raises(Break):
        await client.join()
    await aio.run(stop())


async def test_many_threads_share_one_database(tmp_path):
    async def connect():
        db = await aiosqlite.connect(tmp_path / "test.db")
        await db.execute("create table square (n integer primary key, value integer)")
        await db.commit()
        return db

    async def insert(n):
        await db.execute("insert into square values (?, ?)", (n, n * n))
        await db.commit()

    async def total():
        async with db.execute("select count(*), sum(value) from square") as cursor:
            return await cursor.fetchone()

    db = await aio.run(connect())
    for t in [thread(aio.run, insert(n)) for n in range(30)]:
        await t.join()
    assert await aio.run(total()) == (30, sum(n * n for n in range(30)))
    await aio.run(db.close())


async def test_a_task_group_of_asyncio_fails_as_a_whole_and_is_our_exception():
    started = Semaphore()

    async def wait():
        started.post()
        await asyncio.get_running_loop().create_future()

    async def fail():
        await started.wait()
        raise ValueError("one of two")

    async def group():
        async with asyncio.TaskGroup() as group:
            group.create_task(wait())
            group.create_task(fail())

    with pytest.raises(ExceptionGroup) as caught:
        await aio.run(group())
    assert [str(error) for error in caught.value.exceptions] == ["one of two"]
