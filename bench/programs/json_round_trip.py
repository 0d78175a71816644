"""JSON loads and dumps of a nested document of some 300 KB."""

import json

DOCUMENT = {
    "rows": [
        {"id": number, "name": f"name {number}", "tags": ["a", "b", str(number)], "score": number / 7, "nested": {"x": number, "y": None}}
        for number in range(3000)
    ]
}


def round_trip(text):
    return json.dumps(json.loads(text))


def main():
    text = json.dumps(DOCUMENT)
    for _ in range(100):
        text = round_trip(text)
    print(len(text))


main()
