"""The words that the detectors look for.

They are everyday English words for what captions of models say, chosen for precision: a word that is as often the name
of a part or of a use ("seat", "light", "iron") is in a list only if a detector can tell these from each other.
"""

from __future__ import annotations

# Articles that are called by each other's names; a word of one group is never a good name for an article of another.
_ARTICLE_GROUPS = (
    "chair stool armchair recliner rocker highchair",
    "sofa couch loveseat settee",
    "bench",
    "table desk nightstand countertop",
    "bed crib cot bassinet mattress",
    "cushion pillow",
    "cabinet cupboard wardrobe chest dresser sideboard armoire credenza",
    "shelf bookcase bookshelf rack",
    "lamp light luminaire lantern chandelier sconce lampshade lighting",
    "flashlight torch",
    "bottle flask jar vial canister container jug pitcher carafe decanter vessel",
    "jug pitcher carafe kettle teapot coffeepot",
    "cup mug tumbler goblet glass wineglass teacup stein",
    "bowl dish plate platter saucer",
    "pan skillet saucepan wok pot cookware",
    "coffeemaker percolator",
    "knife dagger cleaver",
    "scissors shears",
    "spoon fork ladle spatula spork",
    "toothbrush brush hairbrush",
    "razor shaver trimmer",
    "comb",
    "shoe boot sneaker sandal slipper footwear trainer loafer clog",
    "hat cap helmet beanie hood",
    "bag handbag purse backpack tote satchel rucksack pouch",
    "suitcase luggage",
    "watch wristwatch smartwatch timepiece",
    "clock",
    "ring earring",
    "necklace pendant locket",
    "bracelet bangle anklet",
    "eyeglasses sunglasses goggles spectacles eyewear",
    "phone smartphone telephone cellphone handset",
    "tablet computer laptop notebook",
    "screen display monitor television interface",
    "keyboard keypad",
    "camera camcorder webcam",
    "speaker loudspeaker soundbar",
    "headphones headset earphones earbuds headphone earphone",
    "printer scanner copier",
    "car vehicle automobile truck van suv bus tractor",
    "bicycle bike tricycle",
    "motorcycle motorbike moped scooter",
    "tire wheel rim tyre",
    "boat ship yacht canoe kayak",
    "airplane aircraft drone helicopter plane",
    "tent",
    "umbrella parasol",
    "fan blower",
    "refrigerator fridge freezer",
    "oven stove cooktop range microwave",
    "dishwasher washer dryer",
    "blender mixer juicer",
    "faucet tap spigot",
    "sink basin washbasin",
    "bathtub tub",
    "toilet urinal bidet",
    "showerhead shower",
    "door gate",
    "window",
    "fence",
    "padlock lock",
    "hammer mallet",
    "wrench spanner",
    "screwdriver",
    "drill",
    "saw",
    "pliers",
    "pen pencil marker crayon",
    "book",
    "doll",
    "guitar ukulele violin cello",
    "piano",
    "pistol gun rifle revolver firearm shotgun",
    "sword",
    "ladder stepladder",
    "mirror",
    "pictureframe",
    "vase urn",
    "candle candlestick",
    "rug carpet doormat",
    "curtain",
    "shirt blouse sweater jacket coat dress skirt trousers pants jeans garment",
    "glove mitten",
    "sock stocking",
    "stroller pram",
    "wheelchair",
    "syringe",
    "grill barbecue",
    "surfboard skateboard snowboard",
    "telescope binoculars microscope",
    "tray",
    "box",
)
ARTICLES = {
    word: frozenset(number for number, group in enumerate(_ARTICLE_GROUPS) if word in group.split())
    for words in _ARTICLE_GROUPS
    for word in words.split()
}
# Names that are too general to contradict another article: a speaker is a box, and a pet bed is a cushion.
GENERAL_ARTICLES = frozenset(["tray", "box", "cushion", "pillow"])
COMPOUNDS = {"picture frame": "pictureframe", "coffee maker": "coffeemaker", "coffee machine": "coffeemaker"}

COLOURS = (
    "red|blue|yellow|purple|violet|pink|magenta|turquoise|teal|cyan|maroon|crimson|scarlet|beige|navy|green|brown|"
    "orange|reddish|bluish|greenish|yellowish|pinkish|brownish|golden"
)
NEUTRAL_COLOURS = "black|white|gr[ae]y|cream|silver|gold|tan|ivory|bronze|rose|copper"

# Materials whose names as adjectives and after "made of" say what an article is made of.
MATERIALS = (
    "wooden|wood|metallic|metal|plastic|glass|leather|stainless[- ]steel|steel|alumini?um|ceramic|porcelain|fabric|"
    "cloth|cotton|wool|woolen|silk|velvet|denim|suede|rubber|silicone|marble|granite|concrete|stone|brass|chrome|"
    "bronze|copper|cast[- ]iron|wrought[- ]iron|wicker|rattan|bamboo|oak|walnut|mahogany|pine|cardboard|vinyl|nylon|"
    "acrylic|carbon[- ]fib(?:er|re)|fib(?:er|re)glass|titanium|gold|silver|platinum|linen|felt|foam|cork|clay"
)
# Nouns that a material is part of the name of: a wine glass and a rubber duck are not of glass and rubber.
NAMES_WITH_MATERIALS = (
    "rubber (?:duck|stamp|band)|glass(?:es)? (?:with|on|has|have)|cork (?:screw|board)|paper (?:towel|clip)s?|"
    "magnifying glass|wine glass|(?:curling|steam|clothes|tire|golf|soldering) iron|metal detector|glass cutter|"
    "fabric softener|stone crusher|wood (?:chipper|saw|grain)|(?:felt|foam)[- ]tip|pine (?:cone|tree)|oak leaf|"
    "silver spoon|gold medal|concrete mixer|cloth(?:es)? (?:line|pin|peg|rack)|bamboo (?:leaf|leaves|shoot)"
)

# Names of makers, products and characters. A word of everyday language counts only with a capital within a sentence.
BRANDS = (
    "iPhone|iPad|iPod|MacBook|AirPods|Samsung|Galaxy S\\d+|Nike|Adidas|Reebok|Coca[- ]Cola|Pepsi|Lego|Sony|Nintendo|"
    "PlayStation|Xbox|Microsoft|Google|Android|Tesla|BMW|Toyota|Honda|Ferrari|Porsche|Mercedes|Audi|Volkswagen|Lexus|"
    "Chevrolet|Harley[- ]Davidson|Yamaha|Rolex|Gucci|Chanel|Prada|Louis Vuitton|Herm[eè]s|Starbucks|Disney|"
    "Mickey Mouse|Minnie Mouse|Hello Kitty|Pok[eé]mon|Pikachu|Barbie|Batman|Superman|Spider-?Man|Star Wars|"
    "Darth Vader|Ikea|Dyson|Crocs|Birkenstock|GoPro|Nikon|Bose|JBL|Philips|Bosch|Makita|DeWalt|Tupperware|Keurig|"
    "Nespresso|Gillette|Oral-B|Colgate|Heineken|Budweiser|Red Bull|McDonald['’]?s|KitchenAid|Le Creuset|Ray-Ban|Vans|"
    "Ugg|Skechers|Fitbit|Kindle|Roomba|Segway|Vespa|Kleenex|Velcro"
)
# Words of these that are spelt in more than one way
OTHER_BRAND_WORDS = frozenset(["hermes", "hermès", "pokemon", "pokémon", "spiderman", "mcdonalds"])
CAPITALISED_BRANDS = "Apple|Amazon|Puma|Jeep|Ford|Jaguar|Shell|Visa|Dove|Tide|Canon|Converse|Supreme|Mini|Mustang"

# Where an article may stand or hang, and who may be next to it: surroundings that are no part of it.
SURFACES = (
    "table|tabletop|desk|desktop|floor|ground|counter|countertop|shelf|nightstand|grass|lawn|beach|sand|street|road|"
    "driveway|sidewalk|carpet|bed|chair|sofa|wall|stove|dresser|windowsill|patio|deck"
)
ROOMS = (
    "living room|bedroom|kitchen|bathroom|garden|park|forest|field|office|room|restaurant|garage|street|city|meadow|"
    "backyard|yard|hallway|studio|store"
)
PEOPLE = "man|woman|person|boy|girl|child|baby|mother|father|parent|couple|family|people|hand|model|dog|cat"
LIMBS = "(?:wrist|hand|finger|arm)"
LANDSCAPE = "trees|mountains?|clouds?|flowers|buildings|hills|sky|sunset|waves|bushes|houses"
