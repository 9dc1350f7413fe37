package dsse

import (
	"encoding/json"
	"testing"
)

func TestPAE(t *testing.T) {
	// The example of the specification's protocol.md.
	if got := string(PAE("http://example.com/HelloWorld", []byte("hello world"))); got != "DSSEv1 29 http://example.com/HelloWorld 11 hello world" {
		t.Error(got)
	}
}

func TestBytesHaveOneSpelling(t *testing.T) {
	for text, want := range map[string]string{
		`"aGk="`: "hi", `""`: "", `null`: "", `"-_8="`: "\xfb\xff", `"+/8="`: "\xfb\xff",
	} {
		var got Bytes
		if err := json.Unmarshal([]byte(text), &got); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{`"aGk"`, `"aGl="`, `"aG\nk="`, `"aGk=\n"`, `"-/8="`, `"aGk= "`, `7`, `["aGk="]`} {
		var got Bytes
		if err := json.Unmarshal([]byte(text), &got); err == nil {
			t.Errorf("%s was read as %q", text, got)
		}
	}
	if got, err := json.Marshal(Envelope{InToto, Bytes("hi"), []Signature{{"k", Bytes{0xfb}}}}); err != nil ||
		string(got) != `{"payloadType":"application/vnd.in-toto+json","payload":"aGk=","signatures":[{"keyid":"k","sig":"+w=="}]}` {
		t.Errorf("%s, %v", got, err)
	}
}
