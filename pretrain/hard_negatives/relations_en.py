"""English words of where things are, common ones first."""

from .word_lists import entries, pairs, words

_SUPPORTS = words("""
    table, desk, bench, chair, armchair, couch, sofa, bed, shelf, counter, countertop,
    plate, tray, stool, rug, mat, blanket, roof, stove, bookshelf, nightstand,
    dresser, cabinet, platform, log, rock, box, ledge, windowsill, sill, keyboard,
    laptop, pillow, cushion, suitcase, napkin, placemat, tablecloth, toilet, truck
""")
_CONTAINERS = words("""
    box, bowl, basket, cup, vase, bag, car, cage, bucket, suitcase, drawer, crate,
    pot, jar, mug, oven, fridge, refrigerator, microwave, bin, tub, bathtub, cart,
    backpack, carton, van, barn, tent, pan, pouch, tin, container, cabinet, cupboard
""")
_INSIDES = [
    *_CONTAINERS,
    *words("""house, building, room, kitchen, bathroom, bedroom, store, shop, bus,
        restaurant, train, boat, airport, station, garage, church, fence, pen, circle,
        square, triangle, star, heart, diamond, ring, cross, rectangle, oval, hexagon,
        crescent, office, museum, library, hotel, airplane, stadium, enclosure, area
    """),
]
_BODY_SIDES = words("""
    hand, hands, arm, leg, foot, paw, eye, ear, wing, shoulder, side, corner, knee,
    shoe, wrist, cheek, headlight, lane, sleeve, edge, half, page, lens
""")

_LEFT_RIGHT = [
    {
        'to': [f'to the {side} of', f'to the {side} side of'],
        'on': [f'on the {side} of', f'on the {side} side of'],
        'hand': [f'on the {side} hand side of'],
        'at': [f'at the {side} of', f'at the {side} side of'],
        'bare': [f'{side} of', f'{side} side of'],
    }
    for side in ('left', 'right')
]
_ABSOLUTE = [
    {
        'on': [f'on the {side}', f'on the {side} side'],
        'hand': [f'on the {side} hand side'],
        'to': [f'to the {side}', f'to the {side} side'],
        'far': [f'on the far {side}'],
        'in': [f'in the {side}'],
    }
    for side in ('left', 'right')
]
_RELATIVE = {
    'rule': 'relation',
    'entries': [
        *entries("""
            on; next to, beside, alongside, adjacent to, right next to; in front of,
            right in front of; on top of, atop, on the top of; behind, in back of; in;
            under, underneath, beneath; above; inside, inside of, within; near,
            close to; outside, outside of; over
        """),
        *_LEFT_RIGHT,
        *entries("""
            below; between, in between; across from, opposite; far from, far away from
        """),
    ],
    'near': [
        *entries("""
            next to, near, between, across from, to the left of; next to, near, between,
            across from, to the right of; on top of, on, above, over; under, below;
            inside, in; on, in
        """),
        *pairs('near', 'in front of, behind, above, below, outside'),
        *pairs('in front of', 'across from, outside'),
        *pairs(
            'outside',
            """next to, on top of, behind, under, above, below, on, over,
            far from, between, across from, to the left of, to the right of""",
        ),
        *pairs(
            'far from',
            """in front of, behind, above, below, over, across from,
            to the left of, to the right of""",
        ),
    ],
    'silent': words('between, across from, over, near'),
    'variants': words('beside, underneath, inside of, outside of'),
    'only_before': {'on': _SUPPORTS, 'in': _CONTAINERS, 'inside': _INSIDES},
    'never_before': {
        'under': words('construction, water, way'),
        'below': words('zero, freezing'),
        'behind': words('bars, schedule'),
        'above': words('ground, water'),
        'over': words('there, time, years'),
        'near': words('by, end, completion'),
        'between': words('each, them'),
    },
    'never_after': {
        'on': words("""riding, rides, ride, rode, working, works, based, focused, put,
            tries, trying, turned, going, what, depending"""),
        'over': words("""
            all, pulled, knocked, bent, leaning, bending, leans, bends, flipped, takes,
            taking, turned, falling, fell, hunched, poured, spread, looking, looks,
            look, draped, hung, hanging, stretched, bridge
        """),
        'behind': words('from, left, and'),
        'above': ['high'],
        'in': words('interested, dressed, covered, based, wrapped'),
        'inside': words('the, way'),
        'outside': ['the'],
        'across from': ['the'],
    },
}
RELATION_AXES = {
    'relative': _RELATIVE,
    'side': {
        'rule': 'free',
        'strict': True,
        'entries': _ABSOLUTE,
        'never_before': {'*': words('track, foot, hand, wing, shoulder, leg, arm')},
    },
    'ground': {
        'rule': 'free',
        'strict': True,
        'entries': entries('in the background; in the foreground'),
    },
    'end': {
        'rule': 'free',
        'strict': True,
        'entries': entries('at the top of; at the bottom of'),
    },
    'middle': {
        'rule': 'free',
        'entries': entries("""
            in the middle of, in the center of, in the centre of; at the edge of,
            on the edge of
        """),
    },
    'left_right': {
        'rule': 'attributive',
        'entries': entries('left; right'),
        'only_before': {'*': _BODY_SIDES},
    },
    'top_bottom': {
        'rule': 'attributive',
        'entries': entries('top, upper; bottom, lower'),
        'only_before': {'*': words('shelf, rack, bunk, drawer, row, half, lip, deck')},
    },
    'front_back': {
        'rule': 'attributive',
        'entries': entries('front; back, rear'),
        'only_before': {
            '*': words("""wheel, wheels, leg, legs, paw, paws, tire, tires, door, seat,
                seats, yard, row, bumper, porch, window, windows, pocket""")
        },
    },
}
