"""The design classes that specimens belong to, and the kinds of article drawn in each.

The classes are the 33 of the US design classification (D1–D30, D32, D34, D99) in the order of their usual frequency,
the most frequent first. Locarno classes and US subclasses are those that such articles receive.
"""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """One kind of article.

    Attributes:
        uspc_class: Number of the US design class: 14 for D14.
        uspc_subclasses: Subclasses that a patent of this kind may have.
        locarno: Locarno class as grants print it, "1403".
        titles: Titles that a patent of this kind may have.
        article: Name of the builder in `shapes.articles`.
    """

    uspc_class: int
    uspc_subclasses: tuple[str, ...]
    locarno: str
    titles: tuple[str, ...]
    article: str


KINDS: tuple[Kind, ...] = (
    Kind(14, ("138", "248", "341"), "1403", ("Mobile phone", "Smartphone", "Electronic device"), "phone"),
    Kind(14, ("485", "486", "488"), "1404",
         ("Display screen with graphical user interface", "Display screen or portion thereof with user interface"),
         "screen"),
    Kind(14, ("216", "204"), "1401", ("Speaker", "Portable loudspeaker"), "speaker"),
    Kind(6, ("335", "349", "366", "716.1"), "0601", ("Chair", "Dining chair", "Armchair"), "chair"),
    Kind(6, ("691", "707", "656"), "0603", ("Table", "Coffee table", "Side table"), "table"),
    Kind(6, ("661", "675"), "0604", ("Cabinet", "Storage cabinet", "Bookcase"), "cabinet"),
    Kind(12, ("92", "91", "196"), "1208", ("Automobile", "Vehicle", "Toy-like electric vehicle"), "car"),
    Kind(12, ("209", "211", "204"), "1216", ("Vehicle wheel", "Wheel rim"), "wheel"),
    Kind(23, ("238", "252", "255"), "2301", ("Faucet", "Basin faucet"), "faucet"),
    Kind(23, ("370", "382"), "2304", ("Electric fan", "Desk fan"), "fan"),
    Kind(9, ("520", "558", "561"), "0901", ("Bottle", "Container", "Beverage bottle"), "bottle"),
    Kind(9, ("414", "432", "433"), "0903", ("Packaging box", "Box", "Carton"), "carton"),
    Kind(8, ("82", "83", "86"), "0805", ("Screwdriver", "Hand tool"), "screwdriver"),
    Kind(8, ("75", "78", "105"), "0804", ("Hammer", "Mallet"), "hammer"),
    Kind(8, ("349", "354", "380"), "0808", ("Bracket", "Mounting bracket", "Shelf bracket"), "bracket"),
    Kind(26, ("102", "106", "93"), "2605", ("Table lamp", "Lamp", "Desk lamp"), "lamp"),
    Kind(26, ("37", "46", "49"), "2602", ("Flashlight", "Torch"), "flashlight"),
    Kind(7, ("509", "523", "536"), "0701", ("Mug", "Cup", "Drinking cup"), "mug"),
    Kind(7, ("643", "653", "662"), "0703", ("Spoon", "Serving spoon"), "spoon"),
    Kind(7, ("354", "360"), "0702", ("Cooking pan", "Frying pan"), "pan"),
    Kind(2, ("951", "947", "960"), "0204", ("Shoe sole", "Footwear outsole"), "sole"),
    Kind(2, ("866", "882", "869"), "0203", ("Hat", "Cap"), "hat"),
    Kind(21, ("662", "681"), "2102", ("Dumbbell", "Exercise weight"), "dumbbell"),
    Kind(21, ("505", "484", "497"), "2101", ("Toy block", "Construction toy block"), "toy_block"),
    Kind(13, ("133", "137", "146"), "1303", ("Electrical connector", "Power plug", "Charger"), "plug"),
    Kind(24, ("112", "130", "127"), "2402", ("Syringe", "Injection device"), "syringe"),
    Kind(15, ("148", "7", "143"), "1599", ("Gear", "Toothed wheel"), "gear"),
    Kind(15, ("9", "7"), "1502", ("Pump", "Compressor"), "pump"),
    Kind(16, ("202", "203", "200"), "1601", ("Camera", "Digital camera"), "camera"),
    Kind(16, ("306", "315", "326"), "1606", ("Eyeglasses", "Sunglasses"), "eyeglasses"),
    Kind(3, ("243", "232", "279"), "0301", ("Handbag", "Tote bag", "Bag"), "handbag"),
    Kind(25, ("119", "138", "125"), "2501", ("Profile", "Building panel", "Window frame profile"), "profile"),
    Kind(25, ("160", "163"), "2501", ("Paving tile", "Tile"), "tile"),
    Kind(10, ("31", "38", "30"), "1002", ("Wristwatch", "Watch"), "watch"),
    Kind(10, ("1", "15", "23"), "1001", ("Clock", "Wall clock"), "clock"),
    Kind(11, ("26", "34", "36"), "1101", ("Ring", "Finger ring"), "ring"),
    Kind(11, ("143", "149", "152"), "1102", ("Vase", "Flower vase"), "vase"),
    Kind(28, ("46", "48", "47"), "2803", ("Razor", "Shaving razor"), "razor"),
    Kind(28, ("76", "88", "85"), "2802", ("Lipstick case", "Cosmetic container"), "lipstick"),
    Kind(4, ("104", "108", "138"), "0402", ("Toothbrush", "Brush"), "toothbrush"),
    Kind(32, ("53.1", "53"), "0702", ("Bucket", "Pail"), "bucket"),
    Kind(32, ("40", "50"), "0703", ("Broom", "Squeegee"), "broom"),
    Kind(34, ("1", "5", "9"), "0909", ("Waste container", "Trash can"), "trash_can"),
    Kind(34, ("12", "23", "24"), "1202", ("Hand truck", "Cart"), "cart"),
    Kind(30, ("129", "132", "121"), "3003", ("Pet bowl", "Pet feeder"), "pet_bowl"),
    Kind(30, ("160", "108"), "3099", ("Pet toy", "Dog chew"), "pet_toy"),
    Kind(1, ("125", "126", "128"), "0101", ("Pasta", "Edible pasta product", "Cookie"), "pasta"),
    Kind(19, ("51", "36", "41"), "1906", ("Pen", "Writing instrument"), "pen"),
    Kind(19, ("65", "72", "75"), "1902", ("Desk organizer", "Pen holder"), "organizer"),
    Kind(5, ("53", "59", "62"), "0505", ("Fabric", "Fabric with pattern", "Textile sheet material"), "fabric"),
    Kind(22, ("118", "125", "127"), "2202", ("Knife", "Folding knife"), "knife"),
    Kind(22, ("133", "128"), "2205", ("Fishing lure", "Fishing bait"), "lure"),
    Kind(29, ("102", "106", "122"), "0203", ("Safety helmet", "Protective helmet"), "helmet"),
    Kind(20, ("10", "41", "43"), "2003", ("Display stand", "Sign holder"), "sign"),
    Kind(17, ("20", "14", "22"), "1703", ("Guitar", "Electric guitar"), "guitar"),
    Kind(17, ("22", "99"), "1704", ("Drum", "Percussion instrument"), "drum"),
    Kind(27, ("101", "102", "162"), "2702", ("Electronic cigarette", "Vaporizer"), "vaporizer"),
    Kind(27, ("183", "189"), "2703", ("Smoking pipe", "Tobacco pipe"), "pipe"),
    Kind(18, ("50", "55", "59"), "1802", ("Printer", "Label printer"), "printer"),
    Kind(18, ("14", "15"), "1802", ("Hand stamp", "Stamp"), "stamp"),
    Kind(99, ("5", "1", "18"), "9900", ("Urn", "Cremation urn"), "urn"),
    Kind(99, ("28", "29"), "2599", ("Mailbox", "Letter box"), "mailbox"),
)  # fmt: skip

HELD_BACK_KINDS: tuple[Kind, ...] = (
    Kind(14, ("205", "206"), "1401", ("Headphones", "Headset"), "headphones"),
    Kind(6, ("381", "382"), "0601", ("Sofa", "Couch", "Settee"), "sofa"),
    Kind(9, ("500", "504"), "0901", ("Jar", "Storage jar", "Canister"), "jar"),
    Kind(26, ("9", "10", "16"), "2601", ("Candle holder", "Candelabrum"), "candle_holder"),
    Kind(13, ("102", "103"), "1302", ("Solar panel", "Photovoltaic module"), "solar_panel"),
    Kind(24, ("224", "223"), "2402", ("Test tube", "Specimen vial"), "test_tube"),
    Kind(3, ("5", "6"), "0303", ("Umbrella", "Parasol"), "umbrella"),
    Kind(4, ("122", "123"), "0404", ("Paint roller", "Roller for paint"), "paint_roller"),
    Kind(30, ("127", "124"), "3003", ("Bird feeder", "Feeding station for birds"), "bird_feeder"),
    Kind(1, ("116", "117"), "0101", ("Ice cream cone", "Wafer cone"), "ice_cream_cone"),
    Kind(5, ("7", "18"), "0504", ("Lace", "Ribbon with scalloped edge"), "lace"),
    Kind(29, ("108", "110"), "2902", ("Respirator", "Protective face mask"), "respirator"),
    Kind(20, ("22", "27"), "2003", ("Price tag", "Merchandise label"), "price_tag"),
    Kind(17, ("22", "24"), "1704", ("Xylophone", "Glockenspiel"), "xylophone"),
    Kind(27, ("103", "105"), "2703", ("Ashtray", "Cigar ashtray"), "ashtray"),
    Kind(18, ("7", "6"), "1801", ("Calculator", "Pocket calculator"), "calculator"),
    Kind(99, ("17", "18"), "9900", ("Headstone", "Grave marker"), "headstone"),
)  # fmt: skip
"""Kinds that are drawn only if `SpecimenConfig.articles` names them, so that they can be new to an experiment."""

CLASSES: tuple[int, ...] = tuple(dict.fromkeys(kind.uspc_class for kind in KINDS))


def printed_uspc(uspc_class: int, subclass: str) -> str:
    """The national class as grants print it, in fixed columns: (6, "335") is "D 6335", (26, "37") is "D26 37"."""
    whole, _, fraction = subclass.partition(".")
    return f"D{uspc_class:>2}{whole:>3}{fraction}"
