"""Allocates and releases blocks of whole mebibytes in a seeded order, keeps the list of events, and replays it slowly.

The peak of these blocks stands at least 4 MiB above any other moment's, so that what else the interpreter holds cannot move
it. Prints {"unit": bytes, "lines": {line: units live at the peak}, "peak": units}.
"""

import json
import sys

UNIT = 1 << 20
HEADER = sys.getsizeof(b"")
state = 20131


def random_below(limit):
    global state
    state = (state * 1103515245 + 12345) % 2**31
    return (state >> 8) % limit


def main():
    events, blocks = [], {}
    for number in range(400):
        grows = random_below(100) < (70 if number < 220 else 35)
        if grows or not blocks:
            units = 1 + random_below(6)
            if random_below(2):
                blocks[number] = bytes(units * UNIT - HEADER)
                events.append((number, units, sys._getframe().f_lineno - 1))
            else:
                blocks[number] = bytearray(units * UNIT - 1)
                events.append((number, units, sys._getframe().f_lineno - 1))
        else:
            key = list(blocks)[random_below(len(blocks))]
            del blocks[key]
            events.append((key, 0, 0))
        if number == 230:
            extra = [bytes(24 * UNIT - HEADER) for _ in range(4)]
            events.append(("extra", 96, sys._getframe().f_lineno - 1))
            del extra
            events.append(("extra", 0, 0))
    print(json.dumps(replay(events)))


def replay(events):
    """For every moment, the sum over all that is live: slow, and too simple to be wrong."""
    totals, peak, at_peak = [], -1, {}
    live = {}
    for key, units, line in events:
        if units:
            live[key] = (units, line)
        else:
            del live[key]
        total = sum(units for units, _ in live.values())
        totals.append(total)
        if total > peak:
            peak, at_peak = total, dict(live)
    rivals = [total for total in totals if total > peak - 4]
    assert rivals == [peak], f"the peak is not clear: {sorted(totals)[-3:]}"
    lines = {}
    for units, line in at_peak.values():
        lines[line] = lines.get(line, 0) + units
    return {"unit": UNIT, "lines": lines, "peak": peak}


main()
