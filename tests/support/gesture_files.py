"""Files of DVS128 Gesture, written as the format is published: AEDAT 3.1 and tables of gestures."""

import struct


def packet(events, kind=1, size=8, overflow=0, spare=0):
    """Return one packet: header of 28 bytes, then its events (x, y, polarity, time, valid)."""
    body = b"".join(
        struct.pack("<Ii", (x << 17) | (y << 2) | (polarity << 1) | valid, time)
        for x, y, polarity, time, valid in events
    )
    valid = sum(event[-1] for event in events)
    header = struct.pack("<hhiiiiii", kind, 1, size, 4, overflow, len(events) + spare, len(events), valid)
    return header + body + bytes(spare * size)


def write_recording(path, packets, table):
    """Write a recording and its table of (class, start, end)."""
    header = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + b"".join(packets))
    rows = "".join(f"{label},{start},{end}\n" for label, start, end in table)
    path.with_name(f"{path.stem}_labels.csv").write_text(f"class,startTime_usec,endTime_usec\n{rows}")


def write_gestures(folder, users, events, table, tested=1):
    """Write a data set: one recording a user, the last `tested` of them for the test; `events(user)` gives theirs."""
    names = [f"user{user:02d}_led.aedat" for user in users]
    for user, name in zip(users, names, strict=True):
        write_recording(folder / name, [packet(events(user))], table)
    cut = len(names) - tested
    for part, chosen in (("train", names[:cut]), ("test", names[cut:])):
        (folder / f"trials_to_{part}.txt").write_text("\n".join(chosen) + "\n")
    return folder
