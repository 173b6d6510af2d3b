"""What the sample folder shows, says and has written on it."""

# file: (source in a wheel, when it was taken)
PHOTOS = {
    "IMG_2041.jpg": ("skimage/data/astronaut.png", "2026:03:01 10:12:00"),
    "IMG_2042.jpg": ("skimage/data/chelsea.png", "2026:03:01 17:40:10"),
    "IMG_2043.jpg": ("skimage/data/coffee.png", "2026:03:02 08:05:31"),
    "IMG_2044.heic": ("sklearn/datasets/images/china.jpg", "2026:03:14 14:20:00"),
    "IMG_2045.avif": ("sklearn/datasets/images/flower.jpg", "2026:03:15 11:02:45"),
    "IMG_2046.jpg": ("skimage/data/motorcycle_left.png", "2026:03:18 16:31:09"),
    "IMG_2047.jpg": ("skimage/data/rocket.jpg", "2026:03:20 06:58:57"),
    "IMG_2048.png": ("skimage/data/coins.png", "2026:03:21 19:00:00"),
    "IMG_2049.jpg": ("skimage/data/camera.png", "2026:03:22 12:44:02"),
    "IMG_2050.jpg": ("skimage/data/hubble_deep_field.jpg", "2026:03:22 23:10:00"),
    "IMG_2051.jpg": ("skimage/data/moon.png", "2026:03:22 23:15:00"),
    "IMG_2052.jpg": ("skimage/data/gravel.png", "2026:03:25 13:00:00"),
}

LETTER = """Bicycle Workshop Miller
12 Canal Street

Dear Ms Brandt,

your bicycle is ready. We replaced the chain
and both brake cables, and straightened the
front wheel. The repair comes to 86 pounds.

Please collect it before Saturday noon, and
bring the green ticket with you.

Yours sincerely
Thomas Miller"""

LEASE = (
    """Mietvertrag für eine Garage

Vermieter: Karl Schröder
Mieterin: Eva Brandt

1. Vermietet wird die Garage Nr. 7 im Hof
der Gartenstraße 21.

2. Das Mietverhältnis beginnt am 1. April
und läuft auf unbestimmte Zeit.""",
    """3. Die Miete beträgt 65,00 Euro im Monat.

4. Die Kündigungsfrist beträgt drei Monate.

5. Die Kaution von 130,00 Euro wird bei
Übergabe der Schlüssel gezahlt.

Freiburg, den 2. März 2026

Schröder            Brandt""",
)

RECEIPT = """BÄCKEREI SONNENSCHEIN
Hauptstraße 8

2 x Brezel\t2,40
1 x Roggenbrot\t4,80
3 x Apfelkuchen\t8,70

SUMME EUR\t15,90
Bar\t20,00
Rückgeld\t4,10

Vielen Dank!"""

# file: (codec, voice, what is said)
MEMOS = {
    "memo_01.mp3": (
        "libmp3lame",
        "en-us",
        """Good morning, this is a message from the dentist. Your appointment was moved to Thursday at
        half past nine. Please call us back today.""",
    ),
    "memo_02.m4a": (
        "aac",
        "de",
        """Guten Abend, hier spricht Peter. Am Wochenende fahren wir mit dem Zug nach Hamburg. Bitte
        vergiss die Fahrkarten nicht.""",
    ),
    "memo_03.opus": (
        "libopus",
        "en-gb-x-rp",
        """Here is a reminder for the birthday party. We still need candles, orange juice and a chocolate
        cake.""",
    ),
}

NARRATION = (
    "Welcome to our report from the space center. In the morning the rocket stood ready on the launch pad. "
    "One day astronauts will walk on the surface of the moon again."
)
# What is seen while the narrator speaks.
SCENES = ("skimage/data/astronaut.png", "skimage/data/rocket.jpg", "skimage/data/moon.png")
