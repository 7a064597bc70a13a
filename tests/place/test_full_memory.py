"""Places when the system's shared memory is full: a clear error at the put, and nothing else is disturbed."""

PROGRAM = """
import errno
import rtsync as rt
import numpy
from rtsync.place import dynamic_place

async def main():
    place = dynamic_place({workers!r}, "echo")
    large = numpy.ones(2_500_000)  # 20 MB
    for message in (large, ["more", large], b"x" * 20_000_000):
        try:
            place.put(message)
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
            assert "shared memory is full" in str(error), error
        else:
            raise AssertionError("it was put")
    v = rt.SharedBytes(12_000_000)
    try:
        place.put(large[:1_000_000])
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
    else:
        raise AssertionError("it was put")
    del v
    place.put("small ones need none")
    assert await place.get() == "small ones need none"
    place.put(large[:900_000])
    assert (await place.get()).sum() == 900_000
    place.put(None)
    assert await place.wait() == 0

if __name__ == "__main__":
    rt.run(main)
    print("done")
"""


def test_a_message_that_shared_memory_has_no_room_for_is_refused_whole(private_shm, request):
    workers = str(request.path.with_name("workers.py"))
    assert private_shm(PROGRAM.format(workers=workers)) == "done\n"
