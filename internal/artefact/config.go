package artefact

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/pavise/pavise/internal/plainjson"
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
	}
	b = plainjson.UTF8(b)
	if ext == ".jinja" || ext == ".j2" {
		s.template(w, name(w), string(b))
		return
	}
	var v any
	if json.Unmarshal(b, &v) != nil && json.Unmarshal(plainNumbers(b), &v) != nil {
		if s.keras(w, b); ext == ".json" {
			s.tell(w, Finding{Severity: Unreadable, Rule: "config", Why: "it is no JSON, though some reader may take something from it", Next: nextAgain})
		} else {
			s.template(w, name(w), string(b))
		}
		return
	}
	s.configured(w, v, 0)
}

// pythonNumbers are numbers that Python writes and JSON has not; or texts, which stay.
var pythonNumbers = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|-?(?:NaN|Infinity)\b`)

func plainNumbers(b []byte) []byte {
	return pythonNumbers.ReplaceAllFunc(b, func(hit []byte) []byte {
		if hit[0] == '"' {
			return hit
		}
		return []byte("null")
	})
}

// configured walks through what JSON holds.
func (s *scan) configured(w part, v any, depth int) {
	if depth > 200 {
		s.tell(w, Finding{Severity: Unreadable, Rule: "config", Why: "its JSON is nested deeper than is looked at", Next: nextVet})
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
			if strings.Contains(key, "chat_template") {
				s.templates(w, key, item, depth)
			}
			s.configured(w, item, depth+1)
		}
	}
}

// templates looks at a template of conversations, or at a list of them with their names.
func (s *scan) templates(w part, key string, v any, depth int) {
	if depth > 200 {
		return // told of what it stands in
	}
	switch v := v.(type) {
	case string:
		s.template(w, key, v)
	case []any:
		for _, item := range v {
			s.templates(w, key, item, depth+1)
		}
	case map[string]any:
		for _, item := range v {
			s.templates(w, key, item, depth+1)
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
	name := class
	if config, ok := v["config"].(string); ok && (class == "function" || class == "builtin") {
		name = config
	}
	if module == "" || ours(module) && !risky(module, class) && !risky(module, name) {
		return
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
	kerasLambda = regexp.MustCompile(`"class_name"\s*:\s*"(?:Lambda|__lambda__)"`)
	jsonEscapes = regexp.MustCompile(`\\u00[2-7][0-9a-fA-F]`)
	kerasCode   = regexp.MustCompile(`"(4[wR]EA[A-Za-z0-9+/=\\n]{16,})`)
)

// keras looks for Lambda layers in text that is not read as JSON.
func (s *scan) keras(w part, b []byte) {
	b = jsonEscapes.ReplaceAllFunc(b, func(e []byte) []byte {
		n, _ := strconv.ParseUint(string(e[4:]), 16, 8)
		return []byte{byte(n)}
	})
	if bytes.Contains(b, []byte("TorchModuleWrapper")) {
		s.tell(w, Finding{Severity: Malicious, Rule: "keras.torch", Why: "it wraps a module of PyTorch, which is a pickle in Base64", Next: nextNever})
	}
	for _, m := range kerasCode.FindAllSubmatch(b, 16) {
		s.marshalled(w, string(bytes.ReplaceAll(m[1], []byte(`\n`), nil)))
	}
	if at := kerasLambda.FindIndex(b); at != nil {
		s.tell(w, Finding{Severity: Suspicious, Rule: "keras.lambda", Offset: int64(at[0]), Why: "it has a Lambda layer, which calls a function that the model names", Next: nextVet})
	}
}

// scriptCalls are what the code of TorchScript reaches files and Python by.
var scriptCalls = regexp.MustCompile(`\b(?:torch|ops\.aten|aten)(?:\.|::)(?:save|from_file)\b|\b(?:prim::|ops\.prim\.)PythonOp\b|(?m:^|[=(,\s])\^\w+\(`)

// script looks at code of TorchScript, which is no Python and runs when the model is asked.
func (s *scan) script(w part) {
	b, err := io.ReadAll(io.LimitReader(w.in, maxConfig+1))
	switch hit := scriptCalls.FindIndex(b); {
	case err != nil:
		s.cut(w, err)
	case hit != nil:
		s.tell(w, Finding{Severity: Malicious, Rule: "torchscript", Offset: int64(hit[0]), Why: "its TorchScript has " + clip(string(b[hit[0]:hit[1]])) + ", which reaches files, or Python", Next: nextNever})
	case len(b) > maxConfig:
		s.tell(w, Finding{Severity: Unreadable, Rule: "size", Why: "it is more code than is read", Next: nextUnpack})
	default:
		s.tell(w, Finding{Severity: Note, Rule: "torchscript", Why: "it is TorchScript, code that runs when the model is asked, and is searched for names alone", Next: nextVet})
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
