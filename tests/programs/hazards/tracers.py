"""Users of sys.settrace, sys.setprofile, sys.monitoring and cProfile see what they see without memlens."""

import cProfile
import pstats
import sys
import threading


def leaf(number):
    return [number] * 10


def branch(number):
    total = 0
    for each in range(number):
        total += len(leaf(each))
    return sum(len(leaf(each)) for each in range(3)) + total


def events_of(install):
    """How often each event came for the functions of this file, in order of their first coming."""
    seen = {}

    def note(frame, event, _argument):
        if frame.f_code.co_filename == __file__:
            key = (frame.f_code.co_name, event, frame.f_lineno)
            seen[key] = seen.get(key, 0) + 1
        return note

    install(note)
    branch(20)
    thread = threading.Thread(target=branch, args=(3,))
    thread.start()
    thread.join()
    install(None)
    return list(seen.items())


def monitored():
    monitoring = sys.monitoring
    seen = {}

    def note(code, *details):
        if code.co_filename == __file__:
            key = (code.co_name,) + tuple(each for each in details if isinstance(each, int))
            seen[key] = seen.get(key, 0) + 1

    events = monitoring.events
    monitoring.use_tool_id(monitoring.PROFILER_ID, "hazard")
    for event in (events.PY_START, events.PY_RETURN, events.LINE):
        monitoring.register_callback(monitoring.PROFILER_ID, event, note)
    monitoring.set_events(monitoring.PROFILER_ID, events.PY_START | events.PY_RETURN | events.LINE)
    branch(20)
    monitoring.set_events(monitoring.PROFILER_ID, 0)
    monitoring.free_tool_id(monitoring.PROFILER_ID)
    return list(seen.items())


def profiled():
    profile = cProfile.Profile()
    profile.runcall(branch, 20)
    stats = pstats.Stats(profile).stats.items()
    return sorted((name, row[0], row[1]) for (file, _, name), row in stats if file == __file__)


def kept_to_the_end():
    return bytes(2_000_000)


print(sys.getprofile(), sys.gettrace())
print(events_of(sys.settrace))
print(events_of(sys.setprofile))
print(profiled())
if sys.version_info >= (3, 12):
    print([sys.monitoring.get_tool(tool) for tool in range(6)])
    print(monitored())
sys.settrace(lambda *_: None)
kept = kept_to_the_end()
print(sys.gettrace() is not None, sys.getprofile())
