"""The words of the known documents.

Accuracy can only be measured against text that is known beforehand. Every passage has facts of its own, so
that a query has one right document to cite.
"""

PUMP_MANUAL = (
    "The circulation pump P-204 moves cooling water between the basin and the heat exchangers on level two.",
    "Before opening the housing, close valves V-11 and V-12 and wait until the gauge reads below 0.3 bar.",
    "The shaft seal is replaced every 4000 operating hours or once it loses more than six drops a minute.",
    "Tighten the eight housing bolts crosswise to 48 newton metres, first by hand and then in two passes.",
    "After a restart the bearing temperature must settle below 70 degrees within twenty minutes.",
    "A pump that vibrates by more than 4.5 millimetres per second is stopped and reported to the shift.",
    "Spare seals are kept in cabinet C7 under the article number 81-330, grease under the number 81-342.",
)

FLOOD_REPORT = (
    "On the night of 14 March the river rose by 2.1 metres in six hours and flooded the lower archive.",
    "Night staff moved the maps and the parish registers to the reading room before the first shelf was wet.",
    "About forty metres of newspapers from 1921 to 1936 stood in water and were frozen within a day.",
    "Freezing stops mould, and the bundles can later be dried one by one under vacuum.",
    "The wooden drawers swelled and could be opened only after two weeks of slow drying.",
    "Insurance covered the drying and the freight, but not the new shelves of the lower floor.",
    "Since then the lowest shelf in every row is left empty and a float switch rings in the porter's lodge.",
    "The yearly drill takes place in the first week of October and lasts no longer than ninety minutes.",
    "Volunteers are called by telephone in the order of a list that hangs beside the main switchboard.",
    "Each box carries a coloured dot: red boxes leave the building first, then yellow, then green.",
    "The pumps of the fire brigade lifted nine hundred litres a minute and ran until the following noon.",
    "No reader lost a single document, and the archive opened again on the second of May.",
)

COFFEE_TABLE = (
    ("Lot", "Origin", "Altitude", "Process", "Bags", "Score"),
    ("L-101", "Huila", "1750 m", "washed", "42", "86.5"),
    ("L-102", "Nyeri", "1820 m", "washed", "30", "88.0"),
    ("L-103", "Sidama", "1990 m", "natural", "55", "87.25"),
    ("L-104", "Antigua", "1600 m", "honey", "28", "85.75"),
    ("L-105", "Sumatra", "1300 m", "wet hulled", "64", "83.5"),
    ("L-106", "Tarrazu", "1700 m", "honey", "36", "86.0"),
    ("L-107", "Cerrado", "1100 m", "natural", "80", "82.75"),
    ("L-108", "Boquete", "1650 m", "washed", "18", "90.25"),
)
COFFEE_NOTE = (
    "Scores are the mean of five tasters on a scale of one hundred points.",
    "Lots below 83 points are sold as blend and carry no origin on the bag.",
    "The highest price of the season was paid for lot L-108 from Boquete.",
)

NOTICE = (
    "Assembly point B is the car park behind the boiler house.",
    "Lifts stop at the ground floor when the alarm sounds.",
    "Count your group and tell the warden in the yellow vest.",
    "Nobody goes back before the bell rings three times.",
)

LIGHTHOUSE_HISTORY = (
    (
        "The first light on Gull Rock was a coal fire in an iron basket, lit in the autumn of 1784.",
        "It burned four hundred tons of coal a year, and every sack was carried up ninety-one steps.",
        "Masters complained that in rain the fire could be seen from no further than three miles.",
    ),
    (
        "In 1829 the basket gave way to twelve oil lamps with silvered reflectors.",
        "Two keepers trimmed the wicks every four hours and wrote the weather into a ledger.",
        "The ledgers of those years are the longest unbroken record of wind on this coast.",
    ),
    (
        "A lens of the second order came by ship from France in the summer of 1861.",
        "It turned on rollers, driven by a weight that sank twenty metres through the tower in one night.",
        "The flash of two seconds in every fifteen has been kept to this day.",
    ),
    (
        "Electricity reached the rock by a cable under the sea in 1937.",
        "The cable was torn twice by anchors and lies today in a trench one metre deep.",
        "The last keeper, with a dog and two goats, left the island in the spring of 1988.",
    ),
    (
        "Since then the lamp is watched from the harbour office, forty kilometres away.",
        "A diesel generator starts by itself when the voltage falls below two hundred volts.",
        "Visitors may climb the tower on the first Sunday of each month between May and September.",
    ),
)

TELESCOPE_LOG = (
    "20:14 UTC dome open, seeing 1.2 arcsec, humidity 41 percent",
    "20:31 UTC focus run finished at position 18250",
    "20:40 UTC target NGC 2403, 12 exposures of 300 seconds",
    "21:52 UTC guide star lost for 40 seconds, exposure 9 repeated",
    "22:05 UTC target M 82, 20 exposures of 120 seconds",
    "23:10 UTC humidity 78 percent, exposures go on with fan at level 3",
    "23:26 UTC humidity 86 percent, dome closed by the watchdog",
    "23:40 UTC calibration frames: 25 bias, 15 dark, 11 flat",
    "00:30 UTC data copied to the archive, 4.6 gigabytes, checksums equal",
)

BREAD_TITLE = "Rye bread with a sour starter"
BREAD_INTRO = (
    "The evening before, mix 200 grams of starter with 400 grams of rye flour and 400 grams of warm water.",
    "Cover the bowl and leave it for fourteen hours at about 24 degrees.",
)
BREAD_STEPS = (
    "starter 1000 g",
    "rye flour 500 g",
    "wheat flour 250 g",
    "water 420 g",
    "salt 22 g",
)
BREAD_END = (
    "Knead for eight minutes, shape one loaf and let it rise for an hour in a floured basket.",
    "Bake ten minutes at 250 degrees and fifty minutes at 200 degrees; a done loaf sounds hollow.",
)

TRAVEL_NOTES = (
    "The night train from Zürich reaches Malmö at noon, and the café car opens near Göttingen.",
    "In Besançon the façade of the clock museum is lit until midnight; the guide called it naïve.",
    "A room in the pension near Ærøskøbing costs 640 kroner and includes smørrebrød for the ferry.",
    "The bridge over the Øresund is 7845 metres long, and on clear days one sees the cathedral of Lund.",
    "Bring a jacket: even in août the wind from the sea is cold after nine in the evening.",
)
