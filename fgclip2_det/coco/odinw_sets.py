"""The 35 sets of Object Detection in the Wild, and the 13 that are used most.

Folders, files and prompts are those that GLIP (arXiv:2112.03857) published and
MMDetection's configs repeat. Sets: ELEVATER (arXiv:2204.08790).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fgclip2_det.io import InputError

_VALID = 'valid/annotations_without_background.json'
_EXPORT = 'val_annotations_without_background.json'


@dataclass(frozen=True)
class OdinwSet:
    """One set.

    Args:
        name: as in MMDetection's list of the 35.
        folder: below ``odinw/``.
        file: annotations below the folder; images lie beside them.
        in_13: whether it is one of the 13.
        prompts: text to use for a class, where the published one is not its name.
    """

    name: str
    folder: str
    file: str = _VALID
    in_13: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)

    @property
    def ann_file(self) -> str:
        """Annotation file below ``odinw/``."""
        return f'{self.folder}/{self.file}'

    @property
    def image_root(self) -> str:
        """Folder of the images below ``odinw/``."""
        return self.ann_file.rpartition('/')[0]


_SETS = (
    OdinwSet('AerialMaritimeDrone_large', 'AerialMaritimeDrone/large', in_13=True),
    OdinwSet('AerialMaritimeDrone_tiled', 'AerialMaritimeDrone/tiled'),
    OdinwSet(
        'AmericanSignLanguageLetters',
        'AmericanSignLanguageLetters/American Sign Language Letters.v1-v1.coco',
    ),
    OdinwSet('Aquarium', 'Aquarium/Aquarium Combined.v2-raw-1024.coco', in_13=True),
    OdinwSet('BCCD', 'BCCD/BCCD.v3-raw.coco'),
    OdinwSet('boggleBoards', 'boggleBoards/416x416AutoOrient/export', _EXPORT),
    OdinwSet('brackishUnderwater', 'brackishUnderwater/960x540'),
    OdinwSet('ChessPieces', 'ChessPieces/Chess Pieces.v23-raw.coco'),
    OdinwSet(
        'CottontailRabbits',
        'CottontailRabbits',
        in_13=True,
        prompts={'Cottontail-Rabbit': 'rabbit'},
    ),
    OdinwSet('dice', 'dice/mediumColor/export', _EXPORT),
    OdinwSet('DroneControl', 'DroneControl/Drone Control.v3-raw.coco'),
    OdinwSet(
        'EgoHands_generic',
        'EgoHands/generic',
        in_13=True,
        prompts={'hand': 'hand of a person'},
    ),
    OdinwSet('EgoHands_specific', 'EgoHands/specific'),
    OdinwSet('HardHatWorkers', 'HardHatWorkers/raw'),
    OdinwSet('MaskWearing', 'MaskWearing/raw'),
    OdinwSet('MountainDewCommercial', 'MountainDewCommercial'),
    OdinwSet(
        'NorthAmericaMushrooms',
        'NorthAmericaMushrooms/North American Mushrooms.v1-416x416.coco',
        in_13=True,
        prompts={'CoW': 'flat mushroom', 'chanterelle': 'yellow mushroom'},
    ),
    OdinwSet('openPoetryVision', 'openPoetryVision/512x512'),
    OdinwSet('OxfordPets_by_breed', 'OxfordPets/by-breed'),
    OdinwSet('OxfordPets_by_species', 'OxfordPets/by-species'),
    OdinwSet('PKLot', 'PKLot/640'),
    OdinwSet(
        'Packages',
        'Packages/Raw',
        in_13=True,
        prompts={'package': 'there is a package on the porch'},
    ),
    OdinwSet('PascalVOC', 'PascalVOC', in_13=True),
    OdinwSet('pistols', 'pistols/export', _EXPORT, in_13=True),
    OdinwSet('plantdoc', 'plantdoc/416x416'),
    OdinwSet(
        'pothole',
        'pothole',
        in_13=True,
        prompts={'pothole': 'there are some holes on the road'},
    ),
    OdinwSet('Raccoon', 'Raccoon/Raccoon.v2-raw.coco', in_13=True),
    OdinwSet('selfdrivingCar', 'selfdrivingCar/fixedLarge/export', _EXPORT),
    OdinwSet('ShellfishOpenImages', 'ShellfishOpenImages/raw', in_13=True),
    OdinwSet('ThermalCheetah', 'ThermalCheetah'),
    OdinwSet('thermalDogsAndPeople', 'thermalDogsAndPeople', in_13=True),
    OdinwSet('UnoCards', 'UnoCards/raw'),
    OdinwSet('VehiclesOpenImages', 'VehiclesOpenImages/416x416', in_13=True),
    OdinwSet('WildfireSmoke', 'WildfireSmoke'),
    OdinwSet('websiteScreenshots', 'websiteScreenshots'),
)
ODINW_SETS: dict[str, OdinwSet] = {one.name: one for one in _SETS}


def odinw_sets(count: int) -> list[OdinwSet]:
    """The sets of ODinW-13 or ODinW-35.

    Raises:
        ValueError: for another number.
    """
    if count not in (13, 35):
        raise InputError(f'there are ODinW-13 and ODinW-35, got {count}')
    return [one for one in ODINW_SETS.values() if count == 35 or one.in_13]
