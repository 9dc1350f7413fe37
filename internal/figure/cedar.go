package figure

import "regexp"

// A Token is a piece of Cedar text and the CSS class it is shown in.
type Token struct{ Class, Text string }

var (
	cedarToken   = regexp.MustCompile(`(//[^\n]*)|("(?:[^"\\]|\\.)*")|(@\w+)|\b(permit|forbid|when|unless|principal|action|resource|context|in|is|has|like|if|then|else|true|false)\b`)
	cedarClasses = []string{"c", "s", "a", "k"} // comment, string, annotation, keyword: cedarToken's groups
)

// Cedar cuts Cedar text into pieces. It colours and does not judge: what it
// cannot read stays plain.
func Cedar(text string) []Token {
	text = Plain(text)
	var pieces []Token
	at := 0
	for _, m := range cedarToken.FindAllStringSubmatchIndex(text, -1) {
		if m[0] > at {
			pieces = append(pieces, Token{"", text[at:m[0]]})
		}
		for group, class := range cedarClasses {
			if m[2+2*group] >= 0 {
				pieces = append(pieces, Token{class, text[m[0]:m[1]]})
			}
		}
		at = m[1]
	}
	return append(pieces, Token{"", text[at:]})
}
