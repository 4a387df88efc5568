"""Chinese words of where things are and how many, common ones first."""

from .word_lists import entries, pairs, words

_ANIMALS = words("""
    牛, 羊, 猪, 大象, 小象, 象, 狮, 熊, 鹿, 驴, 骆驼, 长颈鹿, 斑马, 奶牛, 黄牛, 水牛,
    绵羊, 山羊, 棕熊, 北极熊, 黑熊, 马, 成年, 小牛, 母牛, 公牛, 非洲象
""")
_SUPPORTS = words("""
    桌子, 桌, 餐桌, 书桌, 茶几, 椅子, 椅, 长椅, 凳子, 长凳, 床, 沙发, 书架, 架子, 柜子,
    柜台, 台面, 盘子, 托盘, 盒子, 箱子, 屋顶, 车, 车顶, 炉子, 石头, 木板, 毯子, 垫子,
    书本, 键盘, 电脑, 马桶, 窗台, 台阶
""")
_CONTAINERS = words("""
    盒子, 箱子, 碗, 杯子, 篮子, 花瓶, 袋子, 包, 车, 笼子, 锅, 水槽, 抽屉, 冰箱, 烤箱,
    微波炉, 桶, 柜子, 浴缸, 背包, 行李箱, 帐篷, 屋子, 房子, 瓶子, 罐子, 篓
""")

_NOT_FACE = words('包, 条, 粉, 馆, 具, 孔, 积, 带, 露, 色, 部, 朝, 对, 向, 目, 容, 团')
_LOCALIZERS = {
    'rule': 'free',
    'variants': words('底下, 背后'),
    'entries': [
        {'边': ['左边'], '侧': ['左侧'], '方': ['左方'], '面': ['左面'],
         '手': ['左手边']},
        {'边': ['右边'], '侧': ['右侧'], '方': ['右方'], '面': ['右面'],
         '手': ['右手边']},
        {'边': ['旁边', '身旁', '身边', '边上', '一旁']},
        {'面': ['前面', '面前', '跟前'], '方': ['前方'], '边': ['前边']},
        {'面': ['后面', '背后', '身后'], '方': ['后方'], '边': ['后边']},
        {'方': ['上方'], '面': ['上面'], '边': ['上边']},
        {'方': ['下方'], '面': ['下面', '底下'], '边': ['下边']},
        {'面': ['里面', '内部', '里头'], '边': ['里边']},
        {'面': ['外面'], '边': ['外边']},
        {'间': ['中间', '中央', '正中', '之间']},
        {'近': ['附近']},
        {'对': ['对面']},
    ],
    'near': [
        *entries('旁边, 附近, 左边, 中间, 对面; 旁边, 附近, 右边, 中间, 对面'),
        *pairs('附近', '前面, 后面, 上方, 下方, 外面'),
        *pairs('外面', '旁边, 前面, 后面, 上方, 下方, 左边, 右边, 中间, 对面'),
        *pairs('对面', '前面'),
        *pairs('里面', '中间'),
    ],
    'silent': words('附近, 对面'),
    'only_after': {
        '里面': [
            *_CONTAINERS,
            *words('房间, 屋, 楼, 店, 厅, 馆, 圈, 形, 环, 厨房, 火车, 公交车, 船, 窝'),
        ]
    },
    'never_before': {'*': _NOT_FACE},
    'never_after': {'*': words('场, 封, 东, 西, 南, 北')},
}  # fmt: skip
RELATION_AXES = {
    'localizer': _LOCALIZERS,
    'short_localizer': {
        'rule': 'localizer',
        'strict': True,
        'entries': entries('上; 里, 中, 内; 下; 旁; 前; 后'),
        'near': [],
        'only_after': {
            '上': _SUPPORTS,
            '里': _CONTAINERS,
            **{name: [*_SUPPORTS, *_CONTAINERS] for name in ('下', '旁', '前', '后')},
        },
        'never_before': {
            '*': words('边, 面, 方, 侧, 部, 端, 午, 衣, 班, 去, 学, 来, 车, 着, 的人'),
        },
    },
    'corner': {
        'rule': 'free',
        'entries': entries('左上角; 右上角; 左下角; 右下角'),
    },
    'left_right': {
        'rule': 'free',
        'entries': entries('左; 右'),
        'only_before': {'*': words('手, 臂, 脚, 腿, 耳, 眼, 肩, 膝, 半边')},
        'never_before': {'*': ['手边']},
    },
    'end': {
        'rule': 'free',
        'entries': entries('顶部, 顶端; 底部, 底端'),
    },
    'layer': {
        'rule': 'free',
        'strict': True,
        'entries': [
            {'层': ['上层'], '排': ['前排'], '景': ['前景中'], '景里': ['前景里']},
            {'层': ['下层'], '排': ['后排'], '景': ['背景中'], '景里': ['背景里']},
        ],
    },
}

NUMBERS = entries('一; 两, 二; 三; 四; 五; 六; 七; 八; 九; 十; 十一; 十二')
MEASURES = frozenset(
    '个只张条辆匹头把本件棵座架台位名块片根支枝朵颗粒株艘部栋幢间双对副幅顶枚盏封'
    '杯碗盘盆瓶盒袋篮串束堆排层扇面套段列艇束箱桶罐捆滴节盒壶锅份颗架人'
)
# measure word -> what has to follow, where it is more than a measure word
MEASURED = {
    '头': frozenset(_ANIMALS),
    '面': frozenset(words('墙, 镜子, 旗, 国旗, 鼓, 白墙, 红旗')),
    '片': frozenset(words('面包, 叶, 披萨, 西瓜, 饼, 肉, 吐司, 柠檬, 药, 火腿, 奶酪')),
    '锅': frozenset(words('汤, 饭, 菜, 粥')),
}
