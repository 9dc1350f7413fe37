package jinja

import "testing"

// TestAttack tells templates that reach for Python's inner parts from those that do not.
func TestAttack(t *testing.T) {
	for text, want := range map[string]string{
		"{% for m in messages %}{{ m['content'] | trim }}{% endfor %} __init__": "",
		"{{ '}}' }} then {{ x.__class__ }}":                                     "{{ x.__class__ }}",
		"{%- include '/etc/passwd' %}":                                          "{%- include '/etc/passwd' %}",
		"{{ x|attr('a')":                                                        "{{ x|attr('a')",
		"{":                                                                     "",
	} {
		if at, tag, by := Attack(text); tag != want || (by == "") != (want == "") || by != "" && text[at:at+len(tag)] != tag {
			t.Errorf("%s: %q by %q at %d", text, tag, by, at)
		}
	}
}
