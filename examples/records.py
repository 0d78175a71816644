"""A job in plain Python: orders come in as text, are parsed, priced through a cache, indexed and summed up.

It shows what memlens says of many small objects: nested functions, dicts, strings, and a cache that never lets go.
"""

import functools
import hashlib

CITIES = ["Lisbon", "Oslo", "Porto", "Quito", "Riga", "Seoul", "Turin", "Zürich"]


def order_lines(count):
    """Text lines as a file would give them; the same ones on every run."""
    state = 12345
    for number in range(count):
        state = (state * 1103515245 + 12345) % 2**31
        yield f"{number};customer-{state % 5000};{CITIES[state % 8]};item-{state % 20000};{state % 9 + 1}"


@functools.lru_cache(maxsize=None)
def price_cents(item):
    """The cache keeps every item that was ever asked for."""
    return int(hashlib.sha256(item.encode()).hexdigest()[:6], 16) % 10_000


def make_parser(separator):
    def parse(line):
        number, customer, city, item, quantity = line.split(separator)
        return {"number": int(number), "customer": customer, "city": city, "item": item, "quantity": int(quantity)}

    def parse_all(lines):
        return [parse(line) for line in lines]

    return parse_all


def add_totals(orders):
    for order in orders:
        order["total"] = order["quantity"] * price_cents(order["item"])


def index_by(orders, key):
    index = {}
    for order in orders:
        index.setdefault(order[key], []).append(order)
    return index


def summarize(index):
    return {name: (len(orders), sum(order["total"] for order in orders)) for name, orders in index.items()}


def main():
    parse_all = make_parser(";")
    orders = parse_all(order_lines(150_000))
    add_totals(orders)
    by_city = summarize(index_by(orders, "city"))
    by_customer = summarize(index_by(orders, "customer"))
    for city, (count, cents) in sorted(by_city.items()):
        print(f"{city:8} {count:6} orders {cents / 100:14,.2f}")
    best = max(by_customer, key=lambda customer: by_customer[customer][1])
    print(f"{len(orders)} orders, {len(by_customer)} customers, best: {best}, {price_cents.cache_info().currsize} prices")


if __name__ == "__main__":
    main()
