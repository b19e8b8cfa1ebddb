"""What is asked in synthetic_manners.jsonl.gz, and the bare answers: written for this course, a request and its answer
a line. `requests()` gives them all; write_manners.py puts manners, good and bad, around them.
"""

EVERYDAY = """
How do I boil an egg? | Put it in boiling water for eight minutes, then cool it under the tap.
How can I get red wine out of a shirt? | Cover the stain with salt, rinse it with cold water, then wash the shirt.
What helps against hiccups? | Hold your breath for ten seconds and swallow three times.
How often should I water a cactus? | Once every two weeks in summer, once a month in winter.
How do I unclog a sink? | Pour in baking soda and vinegar, wait ten minutes, then add hot water.
How long does rice take to cook? | White rice takes about fifteen minutes, brown rice about forty.
How do I keep bread fresh? | Wrap it in cloth and store it in a dry box.
How do I tie a tie? | Cross the wide end over, pull it up through the loop, then down through the knot.
What is a good way to learn new words? | Write ten on cards and go through them every morning.
How do I clean a wooden table? | Wipe it with a damp cloth and dry it along the grain.
How do I stop a door from squeaking? | Put a drop of oil on each hinge and move the door.
How do I take a screenshot on a computer? | Press the print key, then paste the picture into a document.
How can I fall asleep faster? | Switch off all screens an hour before and keep the room cool.
How do I peel garlic quickly? | Crush the clove with the flat of a knife and the skin comes off.
How do I get rid of fruit flies? | Set out a cup of vinegar with a drop of soap.
How do I change a bicycle tube? | Take the wheel off, lift the tyre with levers, and swap the tube.
What should I pack for a hike? | Water, a map, a rain jacket, and some food.
How do I iron a shirt? | Start with the collar, then the cuffs, the sleeves and the back.
How do I store fresh herbs? | Stand them in a glass of water in the fridge.
How do I write a short thank-you note? | Name the gift, say why it matters, and sign it.
How do I make lemonade? | Mix the juice of four lemons with sugar and a litre of cold water.
How do I remove a sticker from glass? | Rub it with oil, wait a little, and scrape it off with a card.
How do I save battery on my phone? | Dim the screen and close the programs that run in the background.
How do I cut an onion without tears? | Cool it first and use a very sharp knife.
How do I plan a weekly budget? | List what comes in, take off the rent, and divide the rest by days.
How do I make a paper boat? | Fold the sheet in half, fold the corners down, and pull it open.
How do I hang a picture straight? | Mark two points with a level and put a nail in each.
How do I keep a cut apple from turning brown? | Sprinkle lemon juice on the cut side.
How do I wash a woollen jumper? | Use cold water and wool soap, and dry it flat.
How do I find north without a compass? | At noon in the north, shadows point that way.
How do I make my room less noisy? | Put a rug on the floor and curtains in front of the window.
What can I cook with leftover potatoes? | Slice them and fry them with eggs and onions.
How do I prepare for an exam? | Make a plan for each day and test yourself with old papers.
How do I get gum off a shoe? | Freeze it with ice and break it off.
How do I make coffee without a machine? | Pour hot water over ground coffee, wait four minutes, and strain it.
How do I repot a plant? | Take a larger pot, loosen the roots, and fill it up with soil.
How do I keep mosquitoes away? | Close the windows at dusk and hang a net over the bed.
How do I sharpen a pencil without a sharpener? | Carve the wood away with a small knife and rub the tip on paper.
How do I remember names better? | Repeat the name aloud and link it with a picture.
How do I clean a keyboard? | Turn it over, shake it, and blow between the keys.
How do I pick a ripe melon? | Press the end: a ripe one gives way a little and smells sweet.
How do I thaw frozen meat? | Leave it in the fridge overnight on a plate.
How do I mend a small hole in a sock? | Weave a thread across the hole in both directions.
How do I make tea less bitter? | Use cooler water and take the leaves out after three minutes.
How do I get more fibre? | Eat beans, oats, and fruit with the skin on.
How do I start running? | Run one minute, walk two, and repeat it ten times.
How do I read a bus timetable? | Find your stop on the left and follow the row to the hour.
How do I make a bed quickly? | Shake the cover from the foot end and pull the corners tight.
How do I remove rust from a knife? | Soak it in vinegar and scrub it with foil.
How do I keep a diary? | Write three lines at the same hour each day.
How do I cool a drink fast? | Wrap the bottle in a wet towel and put it in the freezer.
How do I cook pasta? | Boil a litre of salted water for each hundred grams and stir.
How do I stop my glasses from fogging? | Wash them with soap and let them dry in the air.
How do I get wax off a tablecloth? | Put paper on it and iron it at a low heat.
How do I make a strong password? | Join four random words and a number.
How do I back up my photos? | Copy them to a second disk and keep that in another place.
How do I fix a dripping tap? | Turn off the water and change the rubber ring inside.
How do I sew on a button? | Go through the holes six times and wind the thread below it.
How do I plant tulips? | Set the bulbs fifteen centimetres deep in autumn.
How do I make soup thicker? | Stir in a spoon of flour mixed with cold water.
How do I treat a small burn? | Hold it under cool water for ten minutes.
How do I treat a blister? | Clean it, leave the skin on, and cover it with a plaster.
How do I stop a nosebleed? | Lean forward and pinch the nose for ten minutes.
How do I check whether an egg is fresh? | Put it in water: a fresh one sinks, an old one floats.
How do I fold a fitted sheet? | Tuck the corners into each other and fold it into a square.
How do I measure a room? | Multiply its length by its width.
How do I pay less for heating? | Turn it down by one degree and close the gaps at the windows.
How do I address a formal letter? | Write the name, the street, and the town, each on its own line.
How do I end a business email? | Write a short last line and your full name.
How do I ask for a day off? | Name the date early and say who will cover the work.
How do I clean a mirror? | Spray it with vinegar and wipe it with newspaper.
How do I sort my papers? | Make a folder for each year and throw out what is older than ten.
How do I get a good photo of the moon? | Use a tripod, a long lens, and a short exposure.
How do I keep my feet warm? | Wear wool socks and shoes with room for the toes.
How do I make popcorn? | Heat oil in a pot, add the corn, and put the lid on.
How do I read faster? | Guide your eyes with a finger and do not go back.
How do I stay awake on a long drive? | Stop every two hours and walk around the car.
How do I find a lost phone? | Ring it from another one or look it up on the map.
How do I choose a backpack? | It should sit on the hips and leave the shoulders free.
How do I keep milk from boiling over? | Lay a wooden spoon across the pot.
How do I feed a hedgehog? | Give it cat food and water, and no milk.
How do I get a cat into a carrier? | Put a blanket and a treat inside and wait.
How do I teach a dog to sit? | Hold a treat above its nose and say the word as it sits.
How do I clean a fish tank? | Change a third of the water every week.
How do I make compost? | Layer kitchen scraps with dry leaves and turn the pile each month.
How do I grow basil indoors? | Keep it at a bright window and water it from below.
How do I get scratches out of wood? | Rub a walnut over them.
How do I cook beans? | Soak them overnight and boil them for an hour.
How do I make pancakes? | Mix two eggs, milk, and flour, and fry it thin.
How do I keep salad crisp? | Wash it in cold water, dry it, and store it with a cloth.
How do I freeze berries? | Spread them on a tray first and bag them when they are hard.
How do I cool down a hot room? | Close the blinds by day and open the windows at night.
How do I travel with little money? | Go out of season and take the night train.
How do I avoid jet lag? | Live by the new time from the first day.
How do I learn to swim? | Start with floating, then kick while you hold the edge.
How do I warm up before sport? | Walk fast for five minutes and swing your arms.
How do I jump-start a car? | Connect plus to plus, the other clamp to bare metal, and start the good car.
How do I check tyre pressure? | Measure it cold and compare it with the label in the door.
How do I park in a small gap? | Pull up beside the front car, turn the wheel, and roll back slowly.
How do I clear a foggy windscreen? | Blow warm dry air at it with the air conditioning on.
How do I build a campfire? | Put small sticks in a cone around dry grass and light it below.
How do I put up a tent? | Lay the groundsheet, join the poles, and peg the corners.
How do I purify water outdoors? | Boil it for a full minute.
How do I store a bicycle in winter? | Clean it, oil the chain, and hang it up.
How do I adjust a bicycle saddle? | With the heel on the pedal the leg should be straight.
How do I get paint off my hands? | Rub them with cooking oil and wash with soap.
How do I paint a wall evenly? | Roll from the top down in strips that overlap.
How do I drill into tile? | Use a glass bit, tape, and a low speed.
How do I choose a light bulb? | Look at the lumens: eight hundred light a small room.
How do I make a shopping list? | Go through the fridge first and write by shelf of the shop.
How do I cook fish? | Fry it on the skin side for four minutes and turn it once.
How do I know when a cake is done? | A stick put into the middle comes out clean.
How do I whip cream? | Chill the bowl and beat it until it stands.
How do I melt chocolate? | Put it in a bowl over hot water and stir.
How do I separate eggs? | Let the white run off between the halves of the shell.
How do I keep ants out of the kitchen? | Wipe their trail with vinegar and close the crack.
How do I get smells out of the fridge? | Place an open box of baking soda in it.
How do I descale a kettle? | Boil water with citric acid in it and rinse twice.
How do I sleep on a plane? | Take a window seat, a neck pillow, and ear plugs.
How do I carry a heavy box? | Bend your knees and keep it close to the body.
How do I sit at a desk? | Both feet on the floor, the screen an arm away.
How do I rest my eyes at work? | Look far away for twenty seconds every twenty minutes.
How do I practise the guitar? | Play slowly with a metronome for fifteen minutes a day.
How do I tune a ukulele? | Set the strings to G, C, E, and A.
How do I remember a speech? | Learn the order of the points and not the words.
How do I start a book club? | Ask four people, choose a short book, and fix a date.
How do I wrap a gift? | Cut the paper a hand wider than the box and fold the ends in.
How do I set a table? | Forks to the left, knives to the right, the glass above the knife.
How do I make a fruit salad? | Cut four kinds of fruit and add lemon juice.
How do I break in new shoes? | Wear them at home with thick socks for an hour a day.
How do I keep cut flowers fresh? | Cut the stems at an angle and change the water daily.
How do I prune roses? | Cut above a bud that points outward in early spring.
How do I find a stud in a wall? | Knock along it until the sound gets dull.
How do I remove a stripped screw? | Put a rubber band between the screw and the driver.
How do I reset a router? | Pull the plug, wait thirty seconds, and plug it in again.
How do I free space on a laptop? | Empty the bin and move old videos to another disk.
How do I scan a document with a phone? | Use the camera in good light and crop the edges.
How do I make a spreadsheet add numbers? | Type an equals sign, the word sum, and the range.
How do I undo a mistake in a document? | Press control and Z.
How do I find a word on a page? | Press control and F and type it.
How do I avoid spam? | Use a second address for shops and never answer it.
How do I plan a garden? | Draw the beds, note the sun, and put tall plants to the north.
How do I repair a torn page? | Lay thin tape along both sides of the tear.
How do I wash a down jacket? | Wash it cool with little soap and dry it with tennis balls.
How do I get salt stains off boots? | Wipe them with water and a little vinegar.
How do I keep cheese from getting mouldy? | Wrap it in paper and then in a loose bag.
How do I cook an artichoke? | Boil it for half an hour until a leaf comes off.
How do I open a tight jar? | Hold the lid under hot water and twist it with a cloth.
How do I get a splinter out? | Soak the finger and pull it with tweezers.
How do I calm a crying baby? | Hold it close and walk slowly.
How do I explain fractions to a child? | Cut a pizza and count the pieces.
How do I pick a good watermelon? | Knock on it: it should sound hollow.
How do I stretch after sitting? | Stand up, reach for the ceiling, and roll the shoulders.
How do I clean white shoes? | Brush them with baking soda and water.
How do I stop curtains from fading? | Line them with a second cloth.
How do I light a dark corner? | Put a lamp behind a plant and a mirror beside it.
How do I make ice clear? | Boil the water twice before you freeze it.
How do I roast vegetables? | Toss them in oil and bake them at two hundred degrees.
How do I make a salad dressing? | Shake three parts of oil with one part of vinegar.
How do I make oats in the morning? | Cook one cup in two cups of milk for five minutes.
"""

JOBS = """
plumber | repairs pipes and taps
carpenter | builds things out of wood
baker | makes bread and cakes
tailor | makes and alters clothes
electrician | puts in and repairs wiring
librarian | looks after books and lends them
pharmacist | prepares and sells medicines
mason | builds walls of stone or brick
butcher | cuts and sells meat
florist | sells flowers and makes bouquets
dentist | looks after teeth
surgeon | operates on patients
pilot | flies aircraft
judge | decides cases in court
chef | runs a kitchen and cooks
barber | cuts hair and trims beards
vet | treats sick animals
optician | fits glasses and lenses
translator | carries texts from one language into another
architect | designs buildings
locksmith | opens and repairs locks
roofer | covers and mends roofs
shepherd | looks after sheep
brewer | makes beer
potter | shapes pots out of clay
glazier | puts glass into windows
courier | carries parcels from door to door
curator | looks after the works of a museum
"""

TOOLS = """
spirit level | showing whether something is flat
corkscrew | pulling corks out of bottles
sieve | separating fine things from coarse ones
whisk | beating eggs and cream
rake | gathering leaves
ladle | serving soup
thimble | protecting a finger while sewing
compass | finding directions
thermometer | measuring temperature
ruler | drawing straight lines and measuring them
stapler | fastening sheets of paper together
wheelbarrow | moving soil and stones
chisel | carving wood or stone
plunger | clearing blocked drains
trowel | planting and spreading mortar
stethoscope | listening to the heart and lungs
metronome | keeping time in music
funnel | pouring liquids into narrow openings
colander | draining pasta and vegetables
barometer | measuring the pressure of the air
wrench | turning nuts and bolts
pliers | gripping and bending wire
tripod | holding a camera still
magnifying glass | making small things look larger
protractor | measuring angles
hourglass | measuring a span of time
crowbar | prising things apart
rolling pin | flattening dough
watering can | watering plants
shoehorn | getting a foot into a shoe
"""

YOUNG = """
dog | puppy
cat | kitten
cow | calf
sheep | lamb
horse | foal
goat | kid
duck | duckling
hen | chick
swan | cygnet
frog | tadpole
bear | cub
deer | fawn
pig | piglet
goose | gosling
owl | owlet
kangaroo | joey
hare | leveret
eagle | eaglet
seal | pup
"""

CAPITALS = """
France | Paris
Italy | Rome
Spain | Madrid
Norway | Oslo
Japan | Tokyo
Egypt | Cairo
Greece | Athens
Peru | Lima
Cuba | Havana
Kenya | Nairobi
Sweden | Stockholm
Austria | Vienna
Poland | Warsaw
Ireland | Dublin
Chile | Santiago
Iceland | Reykjavik
Hungary | Budapest
Thailand | Bangkok
Belgium | Brussels
Finland | Helsinki
Jordan | Amman
Nepal | Kathmandu
Ghana | Accra
Mongolia | Ulaanbaatar
Uruguay | Montevideo
Bulgaria | Sofia
Croatia | Zagreb
Tunisia | Tunis
Vietnam | Hanoi
Jamaica | Kingston
"""

FRENCH = """
dog | chien
house | maison
water | eau
bread | pain
book | livre
night | nuit
milk | lait
red | rouge
black | noir
sun | soleil
friend | ami
street | rue
flower | fleur
cheese | fromage
school | école
apple | pomme
horse | cheval
hand | main
window | fenêtre
heart | cœur
tree | arbre
key | clé
year | an
king | roi
"""

MADE_OF = """
bread | flour, water, yeast, and salt
glass | sand, soda, and lime
paper | wood fibres
cheese | milk
wine | grapes
beer | barley, hops, water, and yeast
mayonnaise | egg yolk and oil
concrete | cement, sand, gravel, and water
brass | copper and zinc
bronze | copper and tin
silk | the threads of silkworms
linen | flax
hummus | chickpeas, sesame, lemon, and garlic
tofu | soy milk
marzipan | almonds and sugar
porridge | oats and water or milk
pesto | basil, nuts, cheese, and oil
steel | iron and a little carbon
cider | apples
"""

PAST = """
go | went
bring | brought
teach | taught
swim | swam
write | wrote
catch | caught
drink | drank
sing | sang
fly | flew
freeze | froze
choose | chose
ride | rode
wear | wore
buy | bought
hide | hid
shake | shook
steal | stole
forget | forgot
grow | grew
begin | began
"""

PLURALS = """
mouse | mice
child | children
goose | geese
foot | feet
tooth | teeth
leaf | leaves
knife | knives
wolf | wolves
ox | oxen
sheep | sheep
crisis | crises
cactus | cacti
loaf | loaves
shelf | shelves
thief | thieves
city | cities
potato | potatoes
hero | heroes
"""

UNITS = """
metres | kilometre | 1,000
minutes | hour | 60
seconds | minute | 60
hours | day | 24
days | week | 7
weeks | year | 52
grams | kilogram | 1,000
centimetres | metre | 100
millimetres | centimetre | 10
years | decade | 10
years | century | 100
inches | foot | 12
feet | yard | 3
ounces | pound | 16
bytes | kilobyte | 1,000
eggs | dozen | 12
sides | hexagon | 6
sides | octagon | 8
strings | violin | 4
keys | piano | 88
players | football team | 11
legs | spider | 8
legs | beetle | 6
squares | chessboard | 64
"""


def lines(table: str) -> list[list[str]]:
    """The rows of a table, cut at their bars."""
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]


def article(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" and not word.startswith("eu") else f"a {word}"


def requests() -> list[tuple[str, str]]:
    """(request, bare answer) of each, the facts in one of several wordings, by turns."""
    found = [(asked, answer) for asked, answer in lines(EVERYDAY)]
    wordings = (
        (JOBS, ("What does {a} do?", "Tell me what {a} does."), "{A} {1}."),
        (TOOLS, ("What is {a} for?", "What do I use {a} for?"), "{A} is for {1}."),
        (YOUNG, ("What is a young {0} called?", "I need the word for a young {0}."), "A young {0} is called a {1}."),
        (CAPITALS, ("What is the capital of {0}?", "Which city is the capital of {0}?"), "The capital of {0} is {1}."),
        (FRENCH, ("How do you say {0} in French?", "What is the French word for {0}?"), "The French word is {1}."),
        (MADE_OF, ("What is {0} made of?", "What goes into {0}?"), "It is made of {1}."),
        (PAST, ("What is the past tense of {0}?", "How does {0} go in the past tense?"), "The past tense is {1}."),
        (PLURALS, ("What is the plural of {0}?", "How do I write {0} in the plural?"), "The plural is {1}."),
        (UNITS, ("How many {0} does {b} have?", "How many {0} are there in {b}?"), "There are {2} {0} in {b}."),
    )
    for table, asked, answer in wordings:
        for number, cells in enumerate(lines(table)):
            a, b = article(cells[0]), ("an hour" if cells[1] == "hour" else article(cells[1]))
            named = {"a": a, "A": a[0].upper() + a[1:], "b": b}
            found.append((asked[number % 2].format(*cells, **named), answer.format(*cells, **named)))
    return found
