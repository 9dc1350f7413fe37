package artefact_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pavise/pavise/internal/artefact"
)

// fuzzed scans what a fuzzer makes of files of one kind. Nothing may panic or go on without
// end; a verdict is one of four, and is that of the worst finding.
func fuzzed(f *testing.F, name string, corpus ...[]byte) {
	for _, b := range corpus {
		f.Add(b)
	}
	path := filepath.Join(f.TempDir(), name)
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		report, err := (&artefact.Scan{Path: path}).Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		worst := artefact.Clean
		for _, found := range report.Findings {
			if found.Severity != artefact.Note && worst == artefact.Clean {
				worst = found.Severity
			}
		}
		if report.Verdict != worst {
			t.Fatalf("verdict %s with %+v", report.Verdict, report.Findings)
		}
	})
}

func FuzzPickle(f *testing.F) {
	var corpus [][]byte
	for _, h := range append(append(append(picklesThatHide(), polyglots()...), callers()...), wrappers()...) {
		if len(h.content) < 1<<16 {
			corpus = append(corpus, h.content)
		}
	}
	fuzzed(f, "a.pkl", corpus...)
}

func FuzzArchive(f *testing.F) {
	var corpus [][]byte
	for _, h := range append(archives(), members()...) {
		if len(h.content) < 1<<16 {
			corpus = append(corpus, h.content)
		}
	}
	fuzzed(f, "a", corpus...)
}

func FuzzGraph(f *testing.F) {
	var corpus [][]byte
	for _, h := range graphs() {
		if h.name[:4] == "ONNX" || h.name[:5] == "Saved" {
			corpus = append(corpus, h.content)
		}
	}
	fuzzed(f, "a.onnx", corpus...)
}

func FuzzSafetensors(f *testing.F) {
	fuzzed(f, "a.safetensors", safetensors(`{"a":{"dtype":"U8","shape":[2,2],"data_offsets":[0,4]},"__metadata__":{"x":"y"}}`, 4))
}

func FuzzGGUF(f *testing.F) { fuzzed(f, "a.gguf", ggufOf("tokenizer.chat_template", "{{ x }}")) }

func FuzzNPY(f *testing.F) { fuzzed(f, "a.npy", npy("|O", system), npy("<f4", "\x00\x00\x00\x00")) }

func FuzzConfig(f *testing.F) {
	fuzzed(f, "a.json", []byte(`{"module":"os","class_name":"Lambda","config":{"function":["AAAA"]},"chat_template":"{{ x }}"}`))
}
