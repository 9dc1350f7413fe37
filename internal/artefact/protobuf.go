package artefact

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// maxMessages bounds how deep messages are nested, and how many there are.
const (
	maxMessageDepth = 64
	maxMessages     = 16 << 20
)

// A wire reads protobuf here and there, so that the weights in a model are passed over.
type wire struct {
	r        io.ReaderAt
	window   [1 << 12]byte
	from     int64
	have     int
	messages int
	domains  map[string]bool // of functions that an ONNX model brings along
}

// A field is one field of a message: a number, or bytes from at to end.
type field struct {
	number  protowire.Number
	value   uint64
	bytes   bool
	at, end int64
}

var errWire = fmt.Errorf("its protobuf is damaged")

// slice returns up to n bytes at a place.
func (m *wire) slice(at int64, n int) []byte {
	if at < m.from || at+int64(n) > m.from+int64(m.have) {
		got, err := m.r.ReadAt(m.window[:], at)
		if err != nil && err != io.EOF {
			got = 0
		}
		m.from, m.have = at, got
	}
	b := m.window[at-m.from : m.have]
	return b[:min(n, len(b))]
}

// fields calls each with the fields of a message. It ends where each says so.
func (m *wire) fields(at, end int64, each func(field) error) error {
	for at < end {
		if m.messages++; m.messages > maxMessages {
			return fmt.Errorf("it has more fields than any model")
		}
		head := m.slice(at, int(min(20, end-at)))
		number, kind, n := protowire.ConsumeTag(head)
		if n < 0 {
			return errWire
		}
		at += int64(n)
		f := field{number: number, at: at, end: at}
		switch kind {
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(m.slice(at, int(min(10, end-at))))
			if n < 0 {
				return errWire
			}
			f.value, f.end = v, at+int64(n)
		case protowire.Fixed32Type:
			f.end += 4
		case protowire.Fixed64Type:
			f.end += 8
		case protowire.BytesType:
			v, n := protowire.ConsumeVarint(m.slice(at, int(min(10, end-at))))
			if n < 0 || v > math.MaxInt64/2 {
				return errWire
			}
			f.bytes, f.at = true, at+int64(n)
			f.end = f.at + int64(v)
		default:
			return errWire
		}
		if f.end > end {
			return errWire
		}
		if err := each(f); err != nil {
			return err
		}
		at = f.end
	}
	return nil
}

// text returns the bytes of a field, a few thousand at most.
func (m *wire) text(f field) string {
	if !f.bytes {
		return ""
	}
	return string(m.slice(f.at, int(min(f.end-f.at, maxText))))
}

// isProtobuf goes by how ONNX (its version, then the producer) and SavedModel (its version,
// then a graph) begin.
func isProtobuf(head []byte) bool {
	return len(head) > 4 && head[0] == 0x08 && head[1] > 0 && head[1] < 0x20 && (head[2] == 0x12 || head[2] == 0x3a)
}

// protobuf looks at a file as each thing that it can be read as: ONNX, SavedModel, GraphDef or
// MetaGraphDef. Nothing in it says which it is, and its reader need not be the one that it
// looks made for. It is unreadable where what its name and its first field say that it is, is
// not so to its end.
func (s *scan) protobuf(w part, ext string) {
	r, size, ok := s.random(w)
	if !ok {
		return
	}
	m := &wire{r: r}
	graph, version, metas := false, false, []field(nil)
	err := m.fields(0, size, func(f field) error {
		switch {
		case f.bytes && f.number == 7:
			graph = true
		case !f.bytes && f.number == 1:
			version = true
		case f.bytes && f.number == 2 && len(metas) < maxHeld:
			metas = append(metas, f)
		}
		if f.number > 100 {
			return errWire
		}
		return nil
	})
	if err != nil {
		if ext == ".onnx" || ext == ".pb" || ext == ".meta" {
			s.tell(w, Finding{Severity: Unreadable, Rule: "protobuf", Why: err.Error(), Next: nextAgain})
		}
		return
	}
	all := field{end: size}
	var saved error
	for _, meta := range metas {
		saved = errors.Join(saved, s.metaGraph(w, m, meta))
	}
	def, meta := s.graphDef(w, m, all), s.metaGraph(w, m, all)
	switch {
	case ext == ".meta":
		err = meta
	case version:
		err = saved
	default:
		err = def
	}
	if graph || ext == ".onnx" {
		if failed := s.onnx(w, m, size); ext != ".pb" && ext != ".meta" {
			err = failed
		}
	}
	if err != nil {
		s.tell(w, Finding{Severity: Unreadable, Rule: "protobuf", Why: err.Error(), Next: nextAgain})
	}
}

// metaGraph looks at a MetaGraphDef of a SavedModel: its field 2 is a GraphDef.
func (s *scan) metaGraph(w part, m *wire, meta field) error {
	return m.fields(meta.at, meta.end, func(graph field) error {
		if !graph.bytes || graph.number != 2 {
			return nil
		}
		return s.graphDef(w, m, graph)
	})
}

// graphDef looks at a GraphDef, which has nodes and, in its library, functions with nodes of
// their own.
func (s *scan) graphDef(w part, m *wire, graph field) error {
	return m.fields(graph.at, graph.end, func(f field) error {
		switch {
		case f.bytes && f.number == 1:
			return s.tensorflow(w, m, f)
		case f.bytes && f.number == 2:
			return m.fields(f.at, f.end, func(function field) error {
				if !function.bytes || function.number != 1 {
					return nil
				}
				return m.fields(function.at, function.end, func(node field) error {
					if node.bytes && node.number == 3 {
						return s.tensorflow(w, m, node)
					}
					return nil
				})
			})
		}
		return nil
	})
}

// tensorflowOps are the operations by which a graph acts on the machine that runs it.
var tensorflowOps = map[string]string{
	"ReadFile": "reads files", "WriteFile": "writes files", "MatchingFiles": "lists files", "Save": "writes files", "SaveSlices": "writes files",
	"PyFunc": "calls Python", "PyFuncStateless": "calls Python", "EagerPyFunc": "calls Python", "PrintV2": "writes files",
	"DebugIdentity": "sends to addresses", "DebugIdentityV2": "writes files", "RpcCall": "talks to the network", "TryRpc": "talks to the network", "Rpc": "talks to the network",
	"WholeFileReader": "reads files", "WholeFileReaderV2": "reads files", "FixedLengthRecordReader": "reads files", "TextLineReader": "reads files",
	"DatasetToTFRecord": "writes files", "CreateSummaryFileWriter": "writes files", "WriteRawProtoSummary": "writes files", "MergeV2Checkpoints": "writes and deletes files",
	"SaveDataset": "writes files", "SaveDatasetV2": "writes files", "TFRecordReader": "reads files", "FixedLengthRecordReaderV2": "reads files", "LMDBReader": "reads files",
	"TFRecordDataset": "reads files", "TFRecordDatasetV2": "reads files", "TextLineDataset": "reads files", "FixedLengthRecordDataset": "reads files", "FixedLengthRecordDatasetV2": "reads files",
	"SqlDataset": "talks to databases", "DataServiceDataset": "talks to the network", "DataServiceDatasetV2": "talks to the network", "CreateSummaryDbWriter": "writes files",
	"LoadDataset": "reads files", "SnapshotDataset": "writes files", "SnapshotDatasetV2": "writes files", "LMDBDataset": "reads files", "CSVDataset": "reads files",
	"TextLineReaderV2": "reads files", "TFRecordReaderV2": "reads files", "ImmutableConst": "maps files into memory", "DumpGraph": "writes files",
}

// tensorflow looks at one node: its operation is field 2.
func (s *scan) tensorflow(w part, m *wire, node field) error {
	return m.fields(node.at, node.end, func(f field) error {
		if f.number == 2 {
			if why, ok := tensorflowOps[m.text(f)]; ok {
				s.tell(w, Finding{Severity: Malicious, Rule: "tensorflow.op", Offset: f.at, Why: "its graph has the operation " + m.text(f) + ", which " + why, Next: nextNever})
			}
		}
		return nil
	})
}

// onnx looks at a ModelProto: its graph is field 7, functions of its own are field 25.
func (s *scan) onnx(w part, m *wire, size int64) error {
	m.domains = map[string]bool{}
	err := m.fields(0, size, func(f field) error {
		if !f.bytes || f.number != 25 {
			return nil
		}
		return m.fields(f.at, f.end, func(d field) error {
			if d.number == 10 && len(m.domains) < maxText {
				m.domains[m.text(d)] = true
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	return m.fields(0, size, func(f field) error {
		switch {
		case !f.bytes:
		case f.number == 7:
			return s.graph(w, m, f, 0)
		case f.number == 25:
			return m.fields(f.at, f.end, func(node field) error {
				if node.bytes && node.number == 7 {
					return s.node(w, m, node, 0)
				}
				return nil
			})
		case f.number == 20: // what training begins with, and does
			return m.fields(f.at, f.end, func(g field) error {
				if g.bytes && (g.number == 1 || g.number == 2) {
					return s.graph(w, m, g, 0)
				}
				return nil
			})
		}
		return nil
	})
}

// graph looks at a GraphProto.
func (s *scan) graph(w part, m *wire, g field, depth int) error {
	if depth > maxMessageDepth {
		return fmt.Errorf("its graphs are nested too deep")
	}
	return m.fields(g.at, g.end, func(f field) error {
		switch {
		case !f.bytes:
		case f.number == 1:
			return s.node(w, m, f, depth)
		case f.number == 5:
			return s.onnxTensor(w, m, f)
		case f.number == 15:
			return s.sparse(w, m, f)
		}
		return nil
	})
}

func (s *scan) sparse(w part, m *wire, sparse field) error {
	return m.fields(sparse.at, sparse.end, func(f field) error {
		if f.bytes && f.number < 3 {
			return s.onnxTensor(w, m, f)
		}
		return nil
	})
}

// onnxDomains are the domains of operators that runtimes bring along.
var onnxDomains = map[string]bool{
	"": true, "ai.onnx": true, "ai.onnx.ml": true, "ai.onnx.training": true, "ai.onnx.preview": true, "ai.onnx.preview.training": true,
	"com.microsoft": true, "com.microsoft.nchwc": true, "com.microsoft.experimental": true, "com.ms.internal.nhwc": true,
}

// node looks at a NodeProto and at the tensors and graphs in its attributes.
func (s *scan) node(w part, m *wire, node field, depth int) error {
	op, domain := "", ""
	err := m.fields(node.at, node.end, func(f field) error {
		switch f.number {
		case 4:
			op = m.text(f)
		case 7:
			domain = m.text(f)
		case 5:
			return m.fields(f.at, f.end, func(a field) error {
				switch {
				case !a.bytes:
				case a.number == 5 || a.number == 10:
					return s.onnxTensor(w, m, a)
				case a.number == 6 || a.number == 11:
					return s.graph(w, m, a, depth+1)
				case a.number == 22 || a.number == 23:
					return s.sparse(w, m, a)
				}
				return nil
			})
		}
		return nil
	})
	if op == "PyOp" || op == "PyCustomOpDef" || op == "PythonOp" || op == "PythonOpGrad" {
		s.tell(w, Finding{Severity: Malicious, Rule: "onnx.python", Offset: node.at, Why: "its operator " + op + " calls Python", Next: nextNever})
	} else if !onnxDomains[domain] && !m.domains[domain] {
		s.tell(w, Finding{Severity: Suspicious, Rule: "onnx.domain", Offset: node.at, Why: "its operator " + clip(op) + " is of the domain " + clip(domain) + ", for which a library of its own is loaded", Next: nextVet})
	}
	return err
}

// onnxTensor looks at where a TensorProto has its numbers: field 13 are the keys and values of
// external data.
func (s *scan) onnxTensor(w part, m *wire, t field) error {
	external := map[string]string{}
	err := m.fields(t.at, t.end, func(f field) error {
		if !f.bytes || f.number != 13 {
			return nil
		}
		key, value := "", ""
		err := m.fields(f.at, f.end, func(e field) error {
			switch e.number {
			case 1:
				key = m.text(e)
			case 2:
				value = m.text(e)
			}
			return nil
		})
		if was, twice := external[key]; twice {
			s.tell(w, Finding{Severity: Suspicious, Rule: "onnx.external", Offset: t.at, Why: "its external data have the key " + clip(key) + " twice: readers differ in which of them they take", Next: nextVet})
			if key == "location" {
				s.external(w, t.at, was, external)
			}
		}
		external[key] = value
		return err
	})
	for key := range external {
		if key != "location" && key != "offset" && key != "length" && key != "checksum" && key != "basepath" {
			s.tell(w, Finding{Severity: Suspicious, Rule: "onnx.external", Offset: t.at, Why: "its external data have the key " + clip(key) + ", which there is not: some readers set any attribute by it", Next: nextVet})
		}
	}
	if location, ok := external["location"]; ok {
		s.external(w, t.at, location, external)
	}
	return err
}

// beyond reports whether a place in a file is none that it has. What is not said is the beginning, and
// the rest.
func beyond(offset, length string, size int64) bool {
	from, err := strconv.ParseInt(cmp.Or(offset, "0"), 10, 64)
	n, also := strconv.ParseInt(cmp.Or(length, "0"), 10, 64)
	return err != nil || also != nil || from < 0 || n < 0 || from > size || n > size-from
}

// external judges where a tensor's numbers are said to lie.
func (s *scan) external(w part, at int64, location string, said map[string]string) {
	how := escapes(location)
	if how == "" && strings.Contains(location, "://") {
		how = "is an address"
	}
	if how != "" {
		s.tell(w, Finding{Severity: Malicious, Rule: "onnx.external", Offset: at, Why: "it takes numbers from the file " + clip(location) + ", which " + how + ": it reads what is not the model's", Next: nextNever})
		return
	}
	if w.dir == "" {
		return
	}
	info, err := os.Lstat(filepath.Join(w.dir, filepath.FromSlash(location)))
	switch {
	case err != nil:
		s.tell(w, Finding{Severity: Unreadable, Rule: "onnx.external", Offset: at, Why: "the file of its numbers, " + clip(location) + ", is not there", Next: nextAgain})
	case !info.Mode().IsRegular():
		s.tell(w, Finding{Severity: Suspicious, Rule: "onnx.external", Offset: at, Why: "the file of its numbers, " + clip(location) + ", is a link or no file: it leads elsewhere", Next: "put the file itself in its place"})
	case beyond(said["offset"], said["length"], info.Size()):
		s.tell(w, Finding{Severity: Suspicious, Rule: "onnx.external", Offset: at, Why: fmt.Sprintf("its numbers lie at %s in %s, %s bytes of them: the file has %d", clip(cmp.Or(said["offset"], "0")), clip(location), clip(cmp.Or(said["length"], "all")), info.Size()), Next: nextAgain})
	}
}
