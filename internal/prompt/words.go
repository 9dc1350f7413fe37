package prompt

import (
	"maps"
	"math/bits"
	"slices"
	"strings"
)

// classes are the words that rules speak of, each class under its name. A word may be in
// several. Words of scripts without spaces have two characters: see dense.
var classes = map[string]string{
	"ignore": `nevermind ignore disregard forget override bypass neglect discard dismiss overlook abandon overwrite nullify void erase unlearn
		ignoriere ignorier ignorieren vergiss vergesse missachte ignorez oublie oubliez negligez ignora ignoren olvida olvide olviden omite descarta
		ignorar esqueça desconsidere desconsidera dimentica dimenticate trascura negeer vergeet zignoruj zapomnij pomiń
		игнорируй игнорируйте проигнорируй проигнорируйте забудь забудьте отбрось ігноруй забудь 忽略 无视 忘记 無視 忘れ 忘掉 무시`,
	"ignored": `ignorieren 無視 忘れ 무시`,
	"prior": `previous previously prior above earlier preceding foregoing former initial original existing preexisting
		vorherigen vorherige vorigen bisherigen bisherige obigen früheren précédentes précédente précédents antérieures anteriores anterior previas previos
		precedenti vorige eerdere voorgaande bovenstaande poprzednie wcześniejsze предыдущие предыдущих прежние прошлые попередні
		之前 れま 以上 先前 上述 上面 以前 上記 이전`,
	"every": `all every everything any entire alle sämtliche alles toutes tous tout todas todos todo tutte tutti wszystkie все всё всех 所有 全部 すべ 모든`,
	"orders": `instructions instruction instructed prompt prompts directive directives rules rule guidelines guideline directions commands programming constraints
		restrictions policies guardrails safeguards anweisungen anweisung regeln vorgaben richtlinien consignes directives règles
		instrucciones reglas indicaciones directrices instruções regras diretrizes istruzioni regole direttive instructies regels opdrachten
		instrukcje polecenia zasady инструкции инструкций указания правила правил команды інструкції 指令 指示 规则 規則 提示 命令 지시`,
	"yours":    `your yours deine deiner deinen ihre ihren vos votre tes ton tus tu sus seus suas tuas tue vostre je jouw uw twoje твои твоих ваши свои 你的 您的 あな`,
	"you":      `you du sie vous tú você ты 你 您`,
	"is":       `is are am was were be`,
	"now":      `now henceforth hereafter onwards jetzt maintenant ahora agora adesso теперь 现在`,
	"new":      `new updated different replacement neue neuen nouvelles nouvelle nuevas nuevos novas nuove nieuwe nowe новые 新的 新し`,
	"follow":   `follow following obey execute comply heed adhere befolge suivez sigue siga segui`,
	"real":     `real actual true`,
	"not":      `not never don't dont do'nt mustn't mustnt cannot cant can't without no nicht niemals ne jamais nunca não никогда 不要`,
	"void":     `void voided cancelled canceled revoked superseded obsolete invalid outdated overridden lifted suspended null wrong irrelevant fake test`,
	"changed":  `updated changed replaced revised reset overwritten`,
	"apply":    `apply applies applicable count counts matter matters`,
	"silently": `silently secretly quietly covertly discreetly`,
	"begin":    `start begin beginning starting starts begins open`,

	"reveal": `list reveal show print output display repeat recite leak dump expose tell give share disclose copy paste quote reproduce return echo
		zeige zeig nenne wiederhole verrate montre affiche révèle répète muestra revela repite imprime mostre revele repita mostra rivela ripeti toon herhaal pokaż
		покажи выведи раскрой повтори 显示 输出 重复 泄露 表示 出力`,
	"transform": `translate summarize summarise encode spell rephrase paraphrase convert rewrite base64 write`,
	"secretly":  `system initial hidden original secret starting developer confidential internal exact preprompt pre full complete underlying versteckten systemprompt système sistema системный 系统 システ`,
	"prompt":    `prompt prompts instructions instruction message configuration preamble systemprompt preprompt context anweisungen instrucciones instruções istruzioni consignes подсказку промпт инструкции 提示 指令 指示`,
	"text":      `text words word everything content contents lines messages`,
	"above":     `above before preceding prior earlier previously`,
	"verbatim":  `verbatim exactly literally unchanged wortwörtlich textuellement`,
	"told":      `told given instructed programmed configured prompted`,
	"what":      `what which whats what's`,

	"call":    `call use invoke run execute trigger`,
	"tool":    `tool tools function functions plugin plugins shell terminal bash browser connector`,
	"consent": `asking confirmation confirming permission approval consent telling informing notifying authorization`,
	"without": `without skipping bypassing`,
	"tell":    `tell inform mention notify alert warn reveal disclose ask`,
	"user":    `user users human customer operator person`,
	"agreed":  `approved authorised authorized consented confirmed agreed permitted`,
	"has":     `has have already`,
	"machine": `ai assistant assistants llm chatbot gpt agent agents`,
	"reading": `reading reads processing processes summarizing summarising reviewing parsing parse analyzing analysing handling`,
	"must":    `must should shall required instructed need needs please`,
	"note":    `note attention message instruction instructions notice important`,

	"send":   `send post forward upload transmit exfiltrate email submit append deliver`,
	"secret": `conversation conversations history transcript secrets secret credentials credential passwords password keys apikey cookies tokens environment env chats memory`,
	"away":   `http https webhook attacker evil requestbin ngrok pastebin`,

	"decode": `decode decrypt deobfuscate unscramble decipher dekodiere décode decodifica`,
	"code":   `base64 base32 hex hexadecimal rot13 cipher binary morse encoded ciphertext`,
	"obey":   `execute follow obey comply perform answer`,

	"dan":       `dan jailbroken unrestricted uncensored unfiltered unaligned amoral unbound unchained stan aim devmode`,
	"become":    `act pretend roleplay imagine simulate behave respond answer operate role become`,
	"limits":    `restrictions restriction filters filter limits limitations rules ethics ethical guidelines censorship morals safeguards guardrails boundaries inhibitions confines`,
	"anything":  `anything`,
	"do":        `do`,
	"god":       `developer god debug sudo jailbreak unrestricted dan maintenance admin root`,
	"mode":      `mode modus`,
	"enabled":   `enabled activated enable activate enter entering engaged unlocked`,
	"character": `character persona`,
	"break":     `break leave drop`,
	"freed":     `freed free liberated released escaped broken`,
	"system":    `system admin administrator developer openai anthropic`,
	"override":  `override overrides overriding`,

	"refuse": `refuse decline reject apologize apologise disclaimers disclaimer moralize moralise lecture refusing apologizing refusal refusals warnings`,
	"say":    `say write reply respond answer output include use mention add`,
	"sorry":  `sorry cannot can't unable i'm apologies unfortunately`,
	"sure":   `sure absolutely certainly yes`,
	"with":   `with by`,

	"again":   `repeat say write print output type keep`,
	"forever": `forever infinitely endlessly indefinitely eternally nonstop infinite`,
	"word":    `word words letter token string poem company phrase sentence`,
}

// leads are words behind which a clause may begin as it does behind a full stop.
const leads = `please now just and then so also kindly simply immediately instead must will shall should bitte por favor you`

// A word's classes are bits of a set.
type set [2]uint64

// with is the set with one more class.
func (s set) with(class int) set {
	s[class/64] |= 1 << (class % 64)
	return s
}

// maxClasses is how many a set holds.
const maxClasses = 128

// senses are what a word means: as it is written, in ROT13, and spelled backwards.
type senses [ciphers]set

// The ways in which words are written that the matcher reads at the same time.
const (
	straight = iota
	rotated
	backward
	ciphers
)

// A meaning is what is known of a word: what it means in each cipher, and whether a clause
// may begin behind it.
type meaning struct {
	senses  senses
	known   bool // it has some sense
	lead    bool
	waiting []listener // who waits for a word of such senses
}

// A lexicon is all words of all rules, by their hashes.
type lexicon struct {
	words     table                // as they are written
	scrambled table                // by their jumbles
	names     map[string]int       // of classes, to their bits
	lengths   [26 * 26]uint32      // of words, as bits, by their first two letters
	jumbled   [1 << 14 / 64]uint64 // whether there is a word of such ends and length, as bits: see ends
}

var lexis = newLexicon()

func newLexicon() *lexicon {
	l := &lexicon{names: map[string]int{}}
	words, scrambled := map[uint64]meaning{}, map[uint64]meaning{}
	for bit, name := range slices.Sorted(maps.Keys(classes)) {
		l.names[name] = bit
		for word := range strings.FieldsSeq(classes[name]) {
			l.add(words, scrambled, foldWord(word), bit)
		}
	}
	for word := range strings.FieldsSeq(leads) {
		m := words[hashOf(word)]
		m.lead = true
		words[hashOf(word)] = m
	}
	l.words.fill(words)
	l.scrambled.fill(scrambled)
	return l
}

// add takes a word in, in each of its forms.
func (l *lexicon) add(words, scrambled map[uint64]meaning, word string, class int) {
	with := func(to map[uint64]meaning, hash uint64, cipher int) {
		m := to[hash]
		m.senses[cipher], m.known = m.senses[cipher].with(class), true
		to[hash] = m
	}
	for cipher, form := range [ciphers]string{word, rot13(word), reversed(word)} {
		if cipher != straight && (len(word) < 3 || form == word || word[0] >= 0x80) {
			continue
		}
		with(words, hashOf(form), cipher)
		if n := len(form); n >= 3 && n < 32 && lower(form[0]) && lower(form[1]) {
			l.lengths[int(form[0]-'a')*26+int(form[1]-'a')] |= 1 << n
		}
		if cipher != straight || len(form) < minJumble || len(form) > maxJumble {
			continue
		}
		if key, ok := jumble([]byte(form)); ok {
			with(scrambled, key, cipher)
			at := ends(form[0], form[len(form)-1], len(form))
			l.jumbled[at/64] |= 1 << (at % 64)
		}
	}
}

// jumbles looks up a word with its inner letters in another order; nil: there is none.
func (l *lexicon) jumbles(word []byte) *meaning {
	n := len(word)
	if n < minJumble || n > maxJumble || !l.mayJumble(word[0], word[n-1], n) {
		return nil
	}
	if key, ok := jumble(word); ok {
		return l.scrambled.find(key)
	}
	return nil
}

// mayJumble reports whether there is a word of such ends and length, which is at most
// maxJumble.
func (l *lexicon) mayJumble(first, last byte, n int) bool {
	at := ends(first, last, n)
	return l.jumbled[at/64]>>(at%64)&1 != 0
}

// ends are the first and the last letter of a word, of either case, and its length, in
// fourteen bits.
func ends(first, last byte, n int) int {
	return int(first&31)<<9 | int(last&31)<<4 | n&15
}

// A table holds meanings by hashes. Most words of a text are in none: bits say so before
// anything else is read.
type table struct {
	maybe [1 << 10]uint64 // by the first 16 bits of hashes, those that some hash has
	slots []slot          // a power of two, at least half of them empty; the next one holds what found its own taken
	list  []meaning
}

// A slot is a hash, and where in the list its meaning stands, from one; 0: nothing.
type slot struct {
	hash uint64
	at   int
}

// fill makes an empty table one of meanings.
func (t *table) fill(from map[uint64]meaning) {
	t.slots = make([]slot, 1<<bits.Len(uint(2*len(from))))
	for hash, m := range from {
		t.list = append(t.list, m)
		i := t.first(hash)
		for t.slots[i].at != 0 {
			i = (i + 1) % len(t.slots)
		}
		t.slots[i] = slot{hash, len(t.list)}
		t.maybe[hash>>54] |= 1 << (hash >> 48 & 63)
	}
}

// first is where a hash stands, if its place was free.
func (t *table) first(hash uint64) int { return int(hash>>32) & (len(t.slots) - 1) }

// mayHave reports whether a hash may have a meaning.
func (t *table) mayHave(hash uint64) bool { return t.maybe[hash>>54]>>(hash>>48&63)&1 != 0 }

// find is the meaning of a hash; nil: it has none.
func (t *table) find(hash uint64) *meaning {
	if !t.mayHave(hash) {
		return nil
	}
	for i := t.first(hash); t.slots[i].at != 0; i = (i + 1) & (len(t.slots) - 1) {
		if t.slots[i].hash == hash {
			return &t.list[t.slots[i].at-1]
		}
	}
	return nil
}

// A spelling is the hash of the bytes that were added to it, eight at a time: of words of
// eight bytes and fewer no two have the same. Who makes two longer ones of one hash is
// found for nothing.
type spelling struct {
	hash uint64 // of all but the last bytes
	last uint64 // those, the first of them in the lowest place
	n    int    // how many those are, below eight
}

// blank is the spelling of nothing.
var blank = spelling{hash: unspelled}

const unspelled = 0x51_7C_C1_B7_27_22_0A_95

func (s spelling) add(c byte) spelling {
	s.last |= uint64(c) << (8 * s.n)
	if s.n++; s.n == 8 {
		return spelling{hash: blended(s.hash, s.last)}
	}
	return s
}

// sum is the hash.
func (s spelling) sum() uint64 {
	if s.n == 0 {
		return s.hash
	}
	return blended(s.hash, s.last)
}

func blended(hash, eight uint64) uint64 {
	hash = (hash ^ eight) * 0x9E37_79B9_7F4A_7C15
	return hash ^ hash>>32
}

func hashOf(s string) uint64 {
	h := blank
	for i := range len(s) {
		h = h.add(s[i])
	}
	return h.sum()
}

func lower(c byte) bool { return c >= 'a' && c <= 'z' }

func rot13(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return 'a' + (r-'a'+13)%26
		}
		return r
	}, s)
}

func reversed(s string) string {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

// Words of so many letters are known with their inner letters in another order.
const (
	minJumble = 6
	maxJumble = 14
)

// jumble is a key that words share whose letters are the same, the first and the last in
// their places: people and models read such words as the right one. It is for words of
// minJumble to maxJumble letters.
func jumble(word []byte) (key uint64, ok bool) {
	n := len(word)
	if !lower(word[0]) || !lower(word[n-1]) {
		return 0, false
	}
	for _, c := range word[1 : n-1] {
		if !lower(c) {
			return 0, false
		}
		x := uint64(c) * 0x9E3779B97F4A7C15 // spread, so that sums of other letters are others
		key += x ^ x>>29
	}
	return key<<10 ^ uint64(word[0]-'a')<<5 ^ uint64(word[n-1]-'a') ^ uint64(n)<<60, true
}
