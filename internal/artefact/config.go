package artefact

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// maxConfig bounds the configuration that is read as a whole.
const maxConfig = 32 << 20

// config looks at JSON and at templates: a Keras model is a JSON object that names what is to
// be made, and some of those names run code.
func (s *scan) config(w part, ext string) {
	b, err := io.ReadAll(io.LimitReader(w.in, maxConfig+1))
	switch {
	case err != nil:
		s.cut(w, err)
		return
	case len(b) > maxConfig:
		s.tell(w, Finding{Severity: Unreadable, Rule: "size", Why: "it is more JSON than is read", Next: nextUnpack})
		return
	case ext == ".jinja" || ext == ".j2":
		s.template(w, name(w), string(b))
		return
	}
	var v any
	if json.Unmarshal(b, &v) != nil {
		s.keras(w, b)
		return
	}
	s.configured(w, v, 0)
}

// configured walks through what JSON holds.
func (s *scan) configured(w part, v any, depth int) {
	if depth > 200 {
		return
	}
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			s.configured(w, item, depth+1)
		}
	case map[string]any:
		s.object(w, v)
		for key, item := range v {
			if text, ok := item.(string); ok && strings.Contains(key, "chat_template") {
				s.template(w, key, text)
			}
			s.configured(w, item, depth+1)
		}
	}
}

// object looks at one object of a configuration.
func (s *scan) object(w part, v map[string]any) {
	class, _ := v["class_name"].(string)
	module, _ := v["module"].(string)
	if _, ok := v["auto_map"]; ok {
		s.tell(w, Finding{Severity: Note, Rule: "config.code", Why: "its auto_map names code that transformers runs where trust_remote_code is set", Next: "leave trust_remote_code off, or read the code"})
	}
	if class == "" {
		return
	}
	switch class {
	case "Lambda":
		s.lambda(w, v)
	case "__lambda__":
		config, _ := v["config"].(map[string]any)
		code, _ := config["code"].(string)
		s.marshalled(w, code)
	case "TorchModuleWrapper":
		s.tell(w, Finding{Severity: Malicious, Rule: "keras.torch", Why: "it wraps a module of PyTorch, which is a pickle in Base64", Next: nextNever})
	}
	if registered, _ := v["registered_name"].(string); module == "" && registered != "" && strings.Contains(registered, ">") && !strings.HasPrefix(registered, "keras") {
		s.tell(w, Finding{Severity: Note, Rule: "keras.custom", Why: "it takes a class of its own, " + clip(registered), Next: nextVet})
	}
	if module == "" || ours(module) && !risky(module, class) {
		return
	}
	name := class
	if config, ok := v["config"].(string); ok && (class == "function" || class == "builtin") {
		name = config
	}
	sev, why := judge(module, name)
	if ours(module) {
		sev, why = Malicious, "which acts on files or the network"
	}
	if sev == Malicious {
		s.tell(w, Finding{Severity: sev, Rule: "keras.module", Why: fmt.Sprintf("it makes %s.%s, %s", clip(module), clip(name), why), Next: nextNever})
	} else if sev == Suspicious {
		s.tell(w, Finding{Severity: sev, Rule: "keras.module", Why: fmt.Sprintf("it makes %s.%s, %s", clip(module), clip(name), why), Next: nextVet})
	}
}

// ours says whether a module is Keras's own.
func ours(module string) bool {
	return module == "keras" || strings.HasPrefix(module, "keras.") || strings.HasPrefix(module, "keras_hub.") || strings.HasPrefix(module, "keras_nlp.") ||
		strings.HasPrefix(module, "tensorflow.keras") || strings.HasPrefix(module, "keras_cv.")
}

// risky are those of Keras's own that load or fetch (CVE-2025-1550, CVE-2025-8747, CVE-2025-9906).
func risky(module, class string) bool {
	return strings.HasPrefix(module, "keras.src.utils") || strings.HasPrefix(module, "keras.utils") || strings.HasPrefix(module, "keras.config") ||
		strings.HasPrefix(module, "keras.models") && class == "function" || strings.HasPrefix(module, "keras.saving") || strings.HasPrefix(module, "keras.src.saving") ||
		class == "get_file" || class == "load_model"
}

// lambda looks at a layer that is a function of its own.
func (s *scan) lambda(w part, v map[string]any) {
	config, _ := v["config"].(map[string]any)
	function := config["function"]
	switch f := function.(type) {
	case []any: // code, defaults and closure
		if len(f) > 0 {
			code, _ := f[0].(string)
			s.marshalled(w, code)
			return
		}
	case map[string]any:
		if f["class_name"] == "__lambda__" {
			return // told where it stands
		}
	}
	s.tell(w, Finding{Severity: Suspicious, Rule: "keras.lambda", Why: "it has a Lambda layer, which calls a function that the model names", Next: nextVet})
}

// marshalledWords are names in Python's code that act on the machine.
var marshalledWords = regexp.MustCompile(`\b(?:os|sys|subprocess|socket|system|popen|exec|eval|compile|__import__|importlib|builtins|shutil|urllib|requests|open|pickle|marshal|ctypes|getattr|base64)\b`)

// marshalled looks at the code of a Lambda layer: Base64 of what Python's marshal writes.
func (s *scan) marshalled(w part, code string) {
	b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(code), ""))
	if err != nil {
		s.tell(w, Finding{Severity: Suspicious, Rule: "keras.lambda", Why: "it has a Lambda layer whose code cannot be read", Next: nextNever})
		return
	}
	if word := marshalledWords.Find(b); word != nil {
		s.tell(w, Finding{Severity: Malicious, Rule: "keras.lambda", Why: "its Lambda layer is compiled Python that names " + string(word), Next: nextNever})
		return
	}
	s.tell(w, Finding{Severity: Suspicious, Rule: "keras.lambda", Why: "it has a Lambda layer: compiled Python, which runs when the model is loaded or asked", Next: nextVet})
}

// kerasMarks are what configurations hold, in the text of files that are not taken apart.
var (
	kerasLambda = regexp.MustCompile(`"class_name":\s*"(?:Lambda|__lambda__)"`)
	kerasCode   = regexp.MustCompile(`"(4[wR]EA[A-Za-z0-9+/=\\n]{16,})`)
)

// keras looks for Lambda layers in text that is not read as JSON.
func (s *scan) keras(w part, b []byte) {
	for _, m := range kerasCode.FindAllSubmatch(b, 16) {
		s.marshalled(w, string(bytes.ReplaceAll(m[1], []byte(`\n`), nil)))
	}
	if at := kerasLambda.FindIndex(b); at != nil {
		s.tell(w, Finding{Severity: Suspicious, Rule: "keras.lambda", Offset: int64(at[0]), Why: "it has a Lambda layer, which calls a function that the model names", Next: nextVet})
	}
}

// hdf5 looks through HDF5 for what Keras writes there as text. The structure of the file is
// not taken apart: what is packed or cut into pieces in it is not seen.
func (s *scan) hdf5(w part) {
	const step, overlap = 4 << 20, 1 << 20
	buf := make([]byte, 0, step+overlap)
	for {
		n, err := io.ReadFull(w.in, buf[len(buf):len(buf)+step])
		buf = buf[:len(buf)+n]
		s.keras(w, buf)
		if bytes.Contains(buf, []byte("TorchModuleWrapper")) {
			s.tell(w, Finding{Severity: Malicious, Rule: "keras.torch", Why: "it wraps a module of PyTorch, which is a pickle in Base64", Next: nextNever})
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			s.cut(w, err)
			return
		}
		keep := min(len(buf), overlap)
		buf = append(buf[:0], buf[len(buf)-keep:]...)
	}
	s.tell(w, Finding{Severity: Note, Rule: "hdf5", Why: "HDF5 is searched for Lambda layers as text, and not taken apart", Next: "ask for the .keras format, or for weights alone"})
}
