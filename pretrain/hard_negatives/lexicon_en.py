"""English attribute words, common ones first."""

from .relations_en import RELATION_AXES
from .word_lists import entries, pairs, words

_PERSONS = words("""
    man, men, woman, women, person, people, boy, boys, girl, girls, child, children,
    kid, kids, baby, babies, guy, guys, lady, ladies, male, males, female, females,
    family, couple, couples, man's, woman's, person's, boy's, girl's, american,
    americans, gentleman, folks, teenager, toddler, mother, father, student, players
""")
_COLOR_WORD = words('color, colors, colored, colour, colours, coloured')
_TALL_THINGS = words("""
    man, woman, boy, girl, person, child, kid, guy, lady, tree, building, tower,
    skyscraper, giraffe, plant, pole, fence, wall, glass, vase, chair, stool, bush,
    hedge, bottle, candle, lamp, cabinet, grass, structure, stack, mountain, statue,
    post, column, monument, palm, ladder, refrigerator, bookshelf, stem, player
""")
_LONG_OR_SHORT_HAIRED = words(
    'cat, dog, kitten, puppy, animal, pet, rabbit, cats, dogs'
)
_CLEAR_THINGS = words("""
    glass, plastic, bottle, container, cup, bag, jar, bowl, vase, window, umbrella,
    box, lid, case, cover, wrapper, pitcher, mug, tube, tray, panel, door, tumbler
""")
_PRINT_WORDS = words('pattern, patterns, patterned, print, prints, design')
_NUMBERS = words(
    'one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve'
)

_GROUPS = words('group, pair, set, crowd, bunch, row, team, herd, series, line')

_COLOR = {
    'rule': 'free',
    'entries': entries("""
        white; black; red; blue; green; yellow; brown; gray, grey; orange; pink;
        purple; silver; gold, golden; tan; beige; turquoise; maroon; navy blue, navy;
        teal; khaki; violet; ivory; magenta; cyan; crimson; burgundy; indigo;
        scarlet; cream-colored; lime green, lime-colored; olive green, olive-colored;
        sky blue; royal blue; hot pink; off-white; rose gold; charcoal gray,
        charcoal grey; lavender-colored; salmon-colored; mustard yellow
    """),
    'near': entries("""
        red, crimson, scarlet, maroon, burgundy; red, salmon-colored; orange,
        salmon-colored; pink, hot pink, magenta, rose gold, salmon-colored,
        lavender-colored; purple, violet, lavender-colored, magenta, indigo;
        purple, maroon, burgundy; maroon, burgundy, crimson, brown; blue, navy blue,
        sky blue, royal blue, indigo, teal, turquoise, cyan; green, lime green,
        olive green, teal, turquoise; turquoise, teal, cyan, sky blue;
        brown, tan, beige, khaki; tan, beige, khaki, ivory, cream-colored, gold;
        white, ivory, cream-colored, off-white, beige; gray, silver, charcoal gray;
        yellow, gold, mustard yellow, lime green; orange, gold, mustard yellow;
        black, charcoal gray, navy blue; khaki, olive green; tan, rose gold, gold;
        yellow, cream-colored; white, silver; brown, mustard yellow
    """),
    'variants': words('grey, golden'),
    'needs_noun': words('orange, gold, silver, tan, ivory, violet, teal, khaki'),
    'never_before': {
        '*': [*_PERSONS, 'out', 'caps'],
        'orange': words("""juice, slice, slices, peel, peels, tree, trees, soda, wedge,
            wedges, marmalade, segment, segments, chicken, sauce, half, halves,
            county, zest, carrot"""),
        'gold': words('medal, medals, fish, coin, coins'),
        'silver': words('medal, medals, ware, lining'),
        'green': words('tea, salad, salads, peas, veggies'),
        'pink': words('floyd'),
        **{
            f'{name}-colored': _COLOR_WORD
            for name in ('cream', 'lavender', 'salmon')
        },
    },
    'never_after': {
        '*': words("""reddish, bluish, greenish, yellowish, brownish, grayish,
            greyish, orangish, purplish, pinkish, whitish, blackish, light and,
            dark and"""),
        'green': words('the, putting, village, bowling'),
        'white': words('egg, eggs, betty'),
        'tan': ['his', 'her'],
        'brown': words('hash, charlie, mr, james'),
    },
    'shades': {
        'light': ['dark'], 'dark': ['light'], 'bright': ['dark'], 'pale': ['dark'],
        'deep': ['light'], 'lighter': ['darker'], 'darker': ['lighter'],
    },
    'unshaded': words("""
        white, black, silver, tan, beige, maroon, navy blue, khaki, ivory, cyan,
        magenta, crimson, burgundy, indigo, scarlet, cream-colored, lime green,
        olive green, sky blue, royal blue, hot pink, off-white, rose gold,
        charcoal gray, lavender-colored, salmon-colored, mustard yellow, violet, gold
    """),
}  # fmt: skip

_SHAPE_ADJECTIVES = {
    'rule': 'attributive',
    'entries': entries("""
        round, circular; square, square-shaped; rectangular, rectangle-shaped; oval,
        oval-shaped, elliptical; triangular, triangle-shaped; heart-shaped;
        star-shaped; diamond-shaped; cylindrical; spherical, ball-shaped; hexagonal;
        octagonal; arched; domed, dome-shaped; conical, cone-shaped; cube-shaped,
        cubic; pentagonal; crescent-shaped; ring-shaped; pyramid-shaped, pyramidal;
        teardrop-shaped, tear-shaped; bell-shaped; egg-shaped; cross-shaped;
        arrow-shaped; semicircular; trapezoidal; spiral-shaped; L-shaped; U-shaped
    """),
    'near': [
        *pairs(
            'round',
            """oval, spherical, cylindrical, ring-shaped, egg-shaped, domed,
            conical, spiral-shaped, semicircular, arched""",
        ),
        *entries("""
            oval, egg-shaped, spherical; egg-shaped, teardrop-shaped; square,
            rectangular, cube-shaped, trapezoidal; square, diamond-shaped; triangular,
            conical, pyramid-shaped, arrow-shaped; hexagonal, octagonal, pentagonal;
            arched, domed, semicircular, U-shaped; domed, bell-shaped, spherical;
            crescent-shaped, semicircular; cylindrical, conical
        """),
    ],
    'never_before': {
        'square': words('feet, foot, mile, miles, meters, dance'),
        'round': words('trip, robin, up'),
        'oval': ['office'],
    },
}
_SHAPE_NOUNS = {
    'rule': 'noun',
    'strict': True,
    'entries': entries("""
        circle; square; triangle; star; heart; rectangle; diamond, rhombus; oval,
        ellipse; cross; arrow; ring; crescent; hexagon; pentagon; octagon; cube;
        sphere; pyramid; cylinder; semicircle; trapezoid; spiral
    """),
    'near': entries("""
        circle, ring, spiral; circle, oval; circle, sphere; circle, semicircle; square,
        rectangle, cube, trapezoid; square, diamond; triangle, pyramid, arrow;
        crescent, semicircle; hexagon, pentagon, octagon; rectangle, cylinder
    """),
    # jewellery, films and anger: shapes only where an attribute describes them
    'needs_noun': words('star, heart, diamond, cross, arrow, ring, spiral, square'),
}

_MATERIAL = {
    'rule': 'material',
    'variants': words('wood, metallic, porcelain, cement, stainless steel, cloth'),
    'entries': [
        {'attributive': ['wooden', 'wood'], 'noun': ['wood']},
        {'attributive': ['metal', 'metallic'], 'noun': ['metal']},
        *entries("""
            plastic; glass; paper; stone; leather; brick; concrete,
            cement; ceramic, porcelain; steel, stainless steel; fabric, cloth;
            cardboard; marble; iron, wrought iron, cast iron; rubber; denim; wicker,
            rattan; bamboo; cotton; straw
        """),
        {'attributive': ['woolen', 'wool', 'woollen'], 'noun': ['wool']},
        *entries("""
            silk; velvet; linen; copper; brass; bronze; aluminum, aluminium; clay,
            terracotta; granite; lace; fur; nylon; suede; satin; vinyl; foam; wax;
            crystal; tin; fiberglass
        """),
        {'attributive': ['tiled', 'tile'], 'noun': ['tile', 'tiles']},
        ['gold'],
        ['silver'],
    ],
    'silent': words('gold, silver'),  # before a noun they are colours
    'kinds': entries("""
        wooden, metal, plastic, glass, stone, brick, concrete, ceramic, steel,
        marble, iron, wicker, bamboo, copper, brass, bronze, aluminum, clay, granite,
        crystal, tin, fiberglass, tiled, cardboard; leather, fabric, denim, cotton,
        straw, woolen, silk, velvet, linen, lace, fur, nylon, suede, satin, vinyl,
        plastic, rubber, wicker, paper; paper, cardboard, plastic, metal, glass,
        ceramic, wooden, fabric, leather; rubber, plastic, foam, wax, metal, leather
    """),
    'near': entries("""
        wooden, wicker, bamboo; wicker, straw, bamboo; metal, steel, iron, copper,
        brass, bronze, aluminum, tin, gold, silver; stone, marble, granite, brick,
        concrete, tiled; ceramic, clay, tiled; brick, clay; glass, crystal; fabric,
        cotton, woolen, silk, velvet, linen, denim, lace, nylon, satin; leather, suede,
        vinyl; suede, fabric, velvet; paper, cardboard; plastic, vinyl, nylon,
        fiberglass, foam, rubber; fur, woolen; fur, fabric; marble, ceramic
    """),
    'never_before': {
        'paper': words('towel, towels, work, clip, clips, weight, holder, roll'),
        'glass': words('of, full, half, cutter'),
        'rubber': words('band, bands, ducky'),
        'metal': words('detector, detectors, band'),
        'iron': words('board, man'),
        'plastic': words('surgery'),
        'cotton': words('candy'),
        'steel': words('drum, drums'),
        'tin': words('foil, man'),
        'wooden': words('stove, fire, fired, burning'),
        'foam': words('wave, waves'),
        'crystal': words('clear'),
        'marble': words('cake, cakes'),
        'stone': words('fruit, age'),
        'concrete': words('jungle'),
    },
    'never_after': {
        'glass': words("""wine, drinking, magnifying, stained, looking, champagne,
            martini, shot, beer, cocktail, water, hour, fiber"""),
        'paper': words('toilet, wrapping, parchment, tissue, wax, news, construction'),
        'iron': words('steam, waffle, curling'),
        'stone': words('rolling'),
        'straw': words('drinking'),
    },
}

_OVERALL = {
    'rule': 'attributive',
    'entries': entries("""
        large, big; small, little; tiny, mini, miniature; huge, giant, massive,
        enormous, gigantic, oversized; medium-sized, medium sized, mid-sized
    """),
    'variants': words('big, little, giant, mini'),
    'near': entries('large, huge; small, tiny'),
    'never_before': {
        '*': [*_PERSONS, *words('bit, portion, amount, brother, sister, league')],
        'large': words('ben, top, apple, wheel, rig, bird, deal'),
        'huge': words('panda, pandas, eagle, eagles, slalom'),
        'small': words('caesar, leagues, mermaid'),
        'tiny': words('van, vans, cooper, golf, series'),
    },
    'never_after': {
        'small': ['too'],
        'tiny': ['very'],
        'huge': ['very'],
        'medium-sized': words('very, so, really, quite, rather, too, extremely'),
    },
}
_SIZE_AXES = {
    'overall': _OVERALL,
    'comparative': {
        'rule': 'attributive',
        'entries': entries('larger, bigger; smaller, littler, tinier'),
    },
    'superlative': {
        'rule': 'attributive',
        'entries': entries('largest, biggest; smallest, littlest, tiniest'),
    },
    'height': {
        'rule': 'attributive',
        'entries': entries('tall; short'),
        'only_before': {'short': _TALL_THINGS},
    },
    'height_comparative': {
        'rule': 'attributive',
        'entries': entries('taller; shorter'),
        'only_before': {'shorter': _TALL_THINGS},
    },
    'length': {
        'rule': 'attributive',
        'entries': entries('long; short'),
        'never_before': {
            'long': words('time, way, term, distance, day, ago, beach, island, jump'),
            'short': words('while, time, distance, term, cut, stop, order, cake'),
        },
        'never_after': {'long': words('how, as, so, no, all day, a day')},
    },
    'length_comparative': {
        'rule': 'attributive',
        'entries': entries('longer; shorter'),
        'never_after': {'longer': ['no', 'any']},
    },
    'width': {
        'rule': 'attributive',
        'entries': entries('wide, broad; narrow'),
        'never_before': {'wide': words('variety, range, open, eyed, angle, array')},
    },
    'thickness': {
        'rule': 'attributive',
        'entries': entries('thick; thin, slim'),
        'never_before': {'thin': ['air']},
    },
    'weight': {
        'rule': 'attributive',
        'entries': entries('fat, chubby, plump; skinny, slender'),
    },
}

_PRINT = {
    'rule': 'attributive',
    'variants': words('plaid, polka dot'),
    'entries': entries("""
        striped, stripy; plain, solid-colored, solid; floral, flowered,
        flower-patterned; checkered, plaid, checked, tartan, gingham; dotted,
        polka dot, polka dotted, spotted; camouflage, camo; paisley; leopard print;
        zigzag, chevron; tie-dyed, tie-dye; marbled; speckled; geometric; argyle;
        houndstooth; herringbone; text; logo
    """),
    'near': entries("""
        dotted, speckled, leopard print; zigzag, herringbone, geometric, argyle,
        houndstooth; checkered, argyle, houndstooth, geometric; marbled, speckled,
        tie-dyed; floral, paisley; leopard print, camouflage; text, logo; plain, text;
        plain, logo
    """),
    'only_before': {'text': _PRINT_WORDS, 'logo': _PRINT_WORDS},
    'never_before': {
        'plain': words('donut, donuts, wood, wall, pizza, ground, rock, ice'),
        'dotted': ['line', 'lines', 'owl'],
        'zigzag': ['path'],
    },
    'never_after': {
        '*': words('was, were, been, grassy, open, dry, dirt, green'),
    },
}
_FINISH_AXES = {
    'print': _PRINT,
    'shine': {
        'rule': 'attributive',
        'entries': entries('shiny, glossy, polished, gleaming; matte, dull'),
    },
    'surface': {
        'rule': 'attributive',
        'entries': entries('smooth; rough, bumpy; wrinkled; ridged; textured'),
        'near': entries('rough, ridged, textured; wrinkled, textured, rough'),
        'never_before': {'rough': words('water, waters, seas, surf, wave, waves')},
    },
    'transparency': {
        'rule': 'attributive',
        'entries': entries('transparent, see-through, translucent, clear; opaque'),
        'only_before': {'transparent': _CLEAR_THINGS},
    },
    'weave': {
        'rule': 'attributive',
        'entries': entries('woven; knitted, knit, crocheted; quilted; embroidered'),
    },
    'holes': {
        'rule': 'attributive',
        'entries': entries('perforated; studded'),
    },
    'coat': {
        'rule': 'attributive',
        'entries': entries('fluffy, furry, shaggy, long-haired; short-haired'),
        'only_before': {'*': _LONG_OR_SHORT_HAIRED},
    },
    'hair': {
        'rule': 'attributive',
        'entries': entries('curly; straight; wavy'),
        'near': entries('curly, wavy'),
        'only_before': {'*': words('hair, beard, mane')},
    },
}

LEXICON = {
    'families': {
        'color': {'color': _COLOR},
        'shape': {'adjective': _SHAPE_ADJECTIVES, 'noun': _SHAPE_NOUNS},
        'material': {'material': _MATERIAL},
        'size': _SIZE_AXES,
        'pattern': _FINISH_AXES,
        'count': {
            'number': {
                'rule': 'count',
                'strict': True,
                'never_after': {'one': [f'{group} of' for group in _GROUPS]},
                'entries': [
                    {'word': word, 'digit': str(number)}
                    for number, word in enumerate(_NUMBERS, 1)
                ],
            }
        },
        'relation': RELATION_AXES,
    },
    # what is found first and left alone
    'protected': words("""
        black and white photo, black and white photograph, black and white picture,
        black and white image, black and white pictures, black and white photos,
        black and white film, black and white shot, black and white movie,
        black and white tv, black and white television, black and white drawing,
        black and white portrait, black and white scene, black and white view,
        in black and white, red wine, white wine, white house, white board,
        black board, golden retriever, golden retrievers, golden gate, green beans,
        green bean, green onion, green onions, green pepper, green peppers,
        black pepper, black beans, black eye, black belt, blue cheese, blue jay,
        blue jays, red sox, red bull, red cross, red carpet, red pepper, red peppers,
        red onion, red onions, red eye, brown sugar, brown rice, white rice,
        white bread, brown bread, white water, white wash, white washed, orange juice,
        polar bear, grizzly bear, panda bear, hot dog, hot dogs, big ben, ice cream,
        green bay, green tea, black tea, new york yankees, yellow pages, black friday,
        stained glass, wine glass, wine glasses, paper towel, paper towels,
        toilet paper, square feet, round trip, flat screen, deep dish, time square,
        times square, one another, no one, one way, any one, each one, every one,
        this one, that one, one by one, one on one, small talk, little league,
        little bit, big league, giant panda, giant pandas, long time, so long,
        as long as, no longer, right side up, inside out, upside down, on top,
        left over, left overs, tic tac toe, blue moon, white out, cast iron skillet,
        mini van, mini cooper, glass of, glasses of, clear sky, clear skies,
        clear blue sky, clear water, clear day, gold medal, silver medal,
        bronze medal, bronze statue, brown bear, black bear, tan line, light up,
        lights up, over the counter, over the years, over the shoulder, over easy,
        under construction, in the process of, on behalf of
    """),
}
