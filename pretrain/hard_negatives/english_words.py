"""Words that English captions are held together by."""

from .word_lists import word_set

DETERMINERS = word_set("""
    a an the his her its their my our your this that these those some another each
    every any no both two three four five six seven eight nine ten
""")
POSSESSIVES = word_set('his her its their them they he she him himself herself')
PRONOUNS = word_set('him her it them us me you each one another himself itself')
PREPOSITIONS = word_set("""
    of in on at by with without for from to into onto over under above below behind
    beside besides near next inside outside around along across through during
    against between among amongst beneath underneath beyond upon off up down out
    about after before toward towards past atop within via as than like while
""")
COPULAS = word_set('is are was were be being been looks look appears')
FUNCTION_WORDS = (
    (DETERMINERS - word_set('two three four five six seven eight nine ten'))
    | PREPOSITIONS
    | COPULAS
    | word_set("""
    and or but nor so yet if then because when where which who whom whose what that
    there here he she it they them him us we i you me has have had do does did can
    could will would shall should may might must not very also too just only
    together away back apart alone all one ones other others someone something
    everyone everything anything nothing still already almost while mid such how why
    s t is't isn't aren't it's there's he's she's that's
""")
)
# verbs that may follow a noun at once and are seldom nouns themselves
VERBS = word_set("""
    sits sit sat stands stood lies lie lays laid rests plays holds hold held wears
    wear rides rode walks runs ran jumps flies flew eats eat ate looked watches
    shown hangs hung contains contain includes include features appear seems seem
    goes go went gets get got takes take taken took makes make comes come came gives
    give gave stares hits swings throws throw leans poses waits wait smiles sleeps
    drives drank moves pulls pushes carries carry surfs skis performs prepares reads
    reaches talks enjoys enjoy fills surrounds seen put kept filled placed parked
    covered topped located decorated surrounded loaded gathered seated mounted
    attached stacked arranged grazes graze floats feeds crosses turns uses tries try
    works helps stays being
""")
NOUNS_IN_ING = word_set("""
    building buildings ceiling railing awning ring string king wing thing things
    clothing painting casing lining frosting icing icings wings rings strings siding
    bedding crossing parking dining living swimming cutting mixing baking frying
    changing dressing washing sewing skiing surfing racing building's evening
    morning spring earring earrings landing opening paving roofing shopping railings
    paintings sling duckling topping toppings filling covering stuffing clearing
    wedding
""")
NOUNS_IN_ED = word_set(
    'bed shed seed seeds weed weeds sled speed breed reed feed red hundred'
)
CONNECTORS = frozenset(['and', 'or', ',', '&', '/'])
# materials that are things as well: "a striped glass"
OBJECT_MATERIALS = word_set(
    'glass paper iron brick stone straw rubber fur crystal tile cloth denim'
)
# after a number that is no count, and before one
NO_COUNT_BEFORE = word_set("""
    o'clock pm am hundred thousand million dozen half halves thirds quarters percent
    inch inches feet foot mile miles kilometers meters degrees dollars cents hours
    minutes seconds years days weeks months side st nd rd th of %
""")
NO_COUNT_AFTER = word_set("""
    number no # route highway bus line channel gate platform track at age aged page
    room flight pier size step day street twenty thirty forty fifty sixty seventy
    eighty ninety hundred thousand point : . $ £ € x - this that any
""")
# words that speak of several: "one man ... together" is wrong
GROUP_WORDS = word_set("""
    their they them theirs each both other others together another between all
    different various same apart
""")
COLOR_WORDS = word_set('color colors colored colour colours coloured')
