//! Documents of every shape that people encrypt.

/// Name and plaintext.
pub(crate) const CORPUS: [(&str, &str); 12] = [
    ("scalars", SCALARS),
    ("texts", TEXTS),
    ("blocks", BLOCKS),
    ("nested", NESTED),
    ("comments", COMMENTS),
    ("comments in lists", LIST_COMMENTS),
    ("documents", "a: 1\n---\nb: two\n# end\n---\nc: [x, y]\n"),
    ("anchors", "base: &base\n  user: root # who\n  list: [1, 2]\ncopy: *base\nmerged:\n  <<: *base\n  more: 1\n"),
    ("empty collections", "a: {}\nb: []\nc: ''\nd:\ne: [[], {}]\nf: {x: {}}\n"),
    ("keys", KEYS),
    ("a Secret", SECRET),
    ("carriage returns and a mark", "\u{feff}a: 1\r\nb:\r\n  - x # c\r\n  - y\r\n"),
];

const SCALARS: &str = "\
int: 12
negative: -5
hex: 0x1F
octal: 0o17
old_octal: 017
binary: 0b101
grouped: 1_000_000
biggest: 9223372036854775807
float: 1.5
whole: 1.0
exponent: 1e21
tiny: 5e-324
huge: 123456789012345678901
million: 1000000.0
infinite: .inf
minus: -.inf
yes: yes
truth: true
no: No
off: OFF
nothing: null
tilde: ~
date: 2020-01-01
time: 2020-1-2 3:4:5.60
zone: 2020-01-02T03:04:05.000100+02:00
sexagesimal: 1:30
bytes: !!binary /wD+
str: !!str 12
floaty: !!float 3
version: 1.2.3
dotted: .5
not_octal: 08
";

const TEXTS: &str = r##"
plain: words
quoted: "12"
date: "2020-01-01"
tab: "a\tb"
escape: "\x01\e\0"
quote: it's
double: say "x"
colon: "a: b"
hash: "a #b"
dash: "- x"
question: "? x"
leading: " x"
trailing: "x "
umlaut: äöü
emoji: "😀"
next_line: "a\u0085b"
nbsp: "a\u00a0b"
old: "y"
norway: "NO"
sixty: "1:30"
merge: "<<"
percent: "%x"
at: "@x"
backtick: "`x"
brackets: "[x"
document: "---"
tilde: "~"
equals: "="
mark: "x\ufeff"
"##;

const BLOCKS: &str = "\
literal: |
  one
    two
  three
stripped: |-
  one
  two
kept: |+
  one

folded: >
  one
  two

  three
trailing_space: \"one \\ntwo\"
leading_space: \"  one\\n two\\n\"
blank: \"\\n\"
only_breaks: \"\\n\\n\"
tabs: \"a\\n\\tb\\n\"
list:
  - |
    in a list
  - a: |-
      in a map
      in a list
";

const NESTED: &str = "\
a:
  b:
    c: [1, [2, {d: 3}], []]
    e:
    - x
    - - y
      - z
    - f: 1
      g: {h: i}
  j: {k: l, m: [n]}
a_unencrypted: clear
n:
  x_unencrypted:
    y: clear
";

const COMMENTS: &str = "\
# at the top

# before - the first
a: 1 # behind a
# before b
b: # behind a key
  # first in b
  c: 2
  # last in b
# before d

d: two # behind d
e:
  f: 3

  # after a blank line

  g: 4
#without a space
h: 5
# at the end
";

const LIST_COMMENTS: &str = "\
list:
  # first
  - 1 # one
  # before two
  - 2
  # last
maps:
  # of the first
  - a: 1
    # before b
    b: 2
  - # behind a dash - with a dash
    c: 3
scalars:
- x # at the key's indentation
# before y
- y
";

const KEYS: &str = "\
\"y\": 1
\"12\": 2
\"a b\": 3
\"a: b\": 4
'quote''d': 5
\"#\": 6
a:b: 7
\"\": 8
kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk: 9
";

const SECRET: &str = "\
apiVersion: v1
kind: Secret
metadata:
  name: hub
  namespace: jhub
stringData:
  token: swordfish
";
