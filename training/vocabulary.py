"""The miniature's tokenizer: one token for each word, number and key that matters in music, bytes for all the rest.

A byte-level BPE without merges but with ``ignore_merges``: a piece of text that stands in the vocabulary is one
token, any other is spelt in bytes, so every Unicode text can be tokenised and no value of bpm, key or metre is ever
split. Keys such as "C major" are added tokens, because the pre-tokenizer would cut them in two.
"""

from __future__ import annotations

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

END_OF_TEXT = "<|endoftext|>"
TONICS = ("C", "C#", "Db", "D", "D#", "Eb", "E", "F", "F#", "Gb", "G", "G#", "Ab", "A", "A#", "Bb", "B")
MODES = ("major", "minor")
_PITCH_CLASSES = {
    "C": 0, "C#": 1, "Db": 1, "D": 2, "D#": 3, "Eb": 3, "E": 4, "F": 5, "F#": 6, "Gb": 6, "G": 7, "G#": 8, "Ab": 8,
    "A": 9, "A#": 10, "Bb": 10, "B": 11,
}  # fmt: skip
TEMPOS = range(30, 301)  # numbers that are tempos, bpm, as ACE-Step takes them
# ACE-Step's own track names.
TRACKS = (
    "woodwinds", "brass", "fx", "synth", "strings", "percussion",
    "keyboard", "guitar", "bass", "drums", "backing_vocals", "vocals",
)  # fmt: skip

_TEMPLATES = (
    "# Instruction\n{}\n\n# Caption\n{}\n\n# Metas\n- bpm: N/A\n- timesignature: N/A\n- keyscale: N/A\n"
    "- duration: 8 seconds\n<|endoftext|>\n",
    "# Languages\nen\n\n# Lyric\n[verse]\n[chorus]\n[bridge]\n[intro]\n[outro]\n[Instrumental]\n[instrumental]<|endoftext|>",
    "Fill the audio semantic mask based on the given conditions:\n\n",
    "Repaint the mask area based on the given conditions:\n\n",
    "Generate audio semantic tokens based on the given conditions:\n\n",
    "Extract the track from the audio:\n\nGenerate the track based on the audio context:\n\n",
    "Complete the input track with | :\n\nComplete the input track:\n\n",
)
_WORDS = """
a an and are as at by for from in into is it its of on or over the this to under up with without that all only no
not very more less than then no one two three four five six seven eight nine ten some much many most plus both while
slow slower slowly fast faster quick quickly moderate medium tempo mid up-tempo uptempo down relaxed brisk steady
driving lively calm energetic gentle soft softly loud hard heavy light dark bright warm cold cool mellow rich thin
full sparse dense busy simple complex minimal quiet tender sad happy joyful melancholic wistful dreamy dreamlike
moody tense hopeful playful serious epic cinematic intimate raw smooth rough clean dirty distorted overdriven fuzzy
crisp punchy deep high low wide narrow stereo mono dry wet reverberant spacious airy breathy nasal hollow round
sharp plucked bowed struck picked strummed muted sustained staccato legato swung swing swinging straight shuffled
syncopated groovy danceable laid back laidback lazy floating flowing rolling pulsing bouncing marching waltzing
pop rock folk jazz blues funk soul disco house techno trance ambient electronic electronica synthwave chiptune lofi
lo-fi hip hop hiphop trap reggae ska latin bossa nova samba country bluegrass classical baroque orchestral chamber
ballad waltz march lullaby anthem song tune track piece music instrumental vocal sketch loop groove beat jingle score
band ensemble quartet trio duo duet solo group orchestra choir take recording demo mix arrangement version excerpt
drums drum kit kick snare hat hats hi-hat hihat cymbal cymbals tom toms percussion shaker tambourine clap claps conga
bongo cowbell bass bassline sub upright fretless slap guitar guitars acoustic electric nylon steel string strings
piano pianos keyboard keyboards keys rhodes organ harpsichord clavinet celesta vibraphone marimba bells bell music-box
synth synths synthesizer synthesizers synthesiser pad pads lead leads arpeggio arpeggios arpeggiated pluck plucks saw
square triangle sine violin violins viola cello cellos ensemble section brass trumpet trumpets trombone trombones horn
horns tuba sax saxophone woodwind woodwinds flute flutes clarinet clarinets oboe bassoon recorder whistle vocals vocal
voice voices singer singing sung sings choir choral backing_vocals backing harmonies harmony fx effects effect riser
sweep noise impact melody melodies melodic theme hook riff riffs motif line lines part parts chord chords progression
harmonic rhythm rhythmic rhythms counterpoint texture accompaniment accompanied comping walking root fifths octaves
ostinato fill fills break intro outro verse chorus bridge section sections bars bar beats beat per minute bpm key keyscale
scale mode major minor dorian mixolydian lydian phrygian aeolian ionian harmonic natural time signature meter metre
common waltz-time 4/4 3/4 playing plays play played featuring features feature driven led based around built set
against over carries carried carrying holds holding keeps keeping gives giving brings rides ride sits sit sounds sound
sounding style styled feel feeling mood flavour flavor touch colour color tone tones timbre analog analogue digital
vintage modern retro old new classic contemporary cheerful sombre somber solemn bittersweet nostalgic romantic
mysterious heroic triumphant peaceful restful restless anxious aggressive angry furious sunny rainy night morning
evening summer winter spring autumn sea city forest dance dancing walk walking drive lounge cafe film game scene
background theme opening ending la na da doo ooh ah oh eh ee uu mm hey yeah love light day moon sun star stars sky
rain river road home heart dream dreams wind fire water time away hello world goodbye remember tonight
la-la unknown none n/a instrumental language english seconds second minutes high-quality quality studio live sampled
synthetic rendered low-quality noisy muffled bright-sounding bandwidth dull clear hifi hi-fi telephone
graceful catchy brushed congas machine singer sung lively march synthwave house lofi
Repaint Extract Generate Complete Fill input audio semantic tokens mask area conditions given context Cover en zh ja de
fr es it unknown WOODWINDS BRASS FX SYNTH STRINGS PERCUSSION KEYBOARD GUITAR BASS DRUMS BACKING_VOCALS VOCALS
""".split()  # noqa: SIM905


def vocabulary_pieces() -> list[str]:
    """Every piece that gets a token of its own, as byte-level strings, in a fixed order without repeats."""
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    texts = list(_TEMPLATES)
    for word in dict.fromkeys(_WORDS):
        for form in (word, word.capitalize()):
            texts += [form, " " + form]
    for number in range(301):
        texts += [str(number), f" {number}"]
    texts += [*".,:;!?()[]{}/|-_'\"&+#\n", " (", " [", ").", "),", "].", "]\n", ",", ":\n", ".\n", " -", " |", " &"]
    texts += ["[verse]\nla la", "\n[chorus]\n", "n't", "'s", "'re"]
    for track in TRACKS:
        texts += [track.upper(), " " + track.upper(), track, " " + track]
    pieces: dict[str, None] = {}
    for text in texts:
        for piece, _ in splitter.pre_tokenize_str(text):
            pieces[piece] = None
    return list(pieces)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer from this file alone (no training, no download); right padding."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: index for index, character in enumerate(alphabet)}
    for piece in vocabulary_pieces():
        vocabulary.setdefault(piece, len(vocabulary))
    backend = Tokenizer(BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    keys = [f"{tonic} {mode}" for tonic in TONICS for mode in MODES]
    backend.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    backend.add_tokens([AddedToken(key, single_word=True, lstrip=True, normalized=False) for key in keys])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        padding_side="right",
        model_max_length=4096,
        clean_up_tokenization_spaces=False,
    )


def number_tokens(tokenizer: PreTrainedTokenizerFast, number: int) -> tuple[int, int]:
    """The tokens of a number up to 300, without a space before it and with one."""
    return tokenizer.convert_tokens_to_ids(str(number)), tokenizer.convert_tokens_to_ids(f"\u0120{number}")


def related_rows(tokenizer: PreTrainedTokenizerFast, size: int) -> dict[int, np.ndarray]:
    """Embedding rows ``[size]`` float32 to start numbers and keys with, by token; deviation 0.02 as all others, but for
    ``TEMPOS``, whose rows training does not move (it would tear them apart) and which are as large as others become.

    Neighbouring tempos and keys that share notes begin as neighbours, so what is learnt of one is not news for the next:
    a number is random Fourier features of its logarithm, from a quarter turn to eight turns an octave (Rahimi & Recht 2007);
    a key is a random projection of its scale's pitch classes, its tonic and its mode.
    """
    rng = np.random.default_rng(0x70C)
    turns = 2 * np.pi * np.exp(rng.uniform(np.log(0.25), np.log(8.0), size)) * rng.choice((-1, 1), size)
    phases = rng.uniform(0, 2 * np.pi, size)
    projection = rng.standard_normal((26, size))
    rows = {}
    for number in range(1, 301):
        row = (0.1 if number in TEMPOS else 0.02) * 2**0.5 * np.cos(turns * np.log2(number) + phases)
        for token in number_tokens(tokenizer, number):
            rows[token] = row.astype(np.float32)
    for tonic in TONICS:
        place = _PITCH_CLASSES[tonic]
        for mode in MODES:
            scale = (0, 2, 4, 5, 7, 9, 11) if mode == "major" else (0, 2, 3, 5, 7, 8, 10)
            facts = np.zeros(26)
            facts[[(place + step) % 12 for step in scale]] = 0.25
            facts[12 + place] = 0.6
            facts[24 + (mode == "minor")] = 0.5
            rows[tokenizer.convert_tokens_to_ids(f"{tonic} {mode}")] = (0.02 * facts @ projection).astype(np.float32)
    return rows
