package oipgrpc

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/tensor"
)

// The messages of the protocol around inference.

// ParseModel reads a ModelReadyRequest or a ModelMetadataRequest, which name a model and
// a version of it. The error is of kind Invalid.
func ParseModel(body []byte, lim tensor.Limits) (name, version string, err error) {
	w := newWire(body, lim)
	f := w.message(func(num protowire.Number) (f *fault) {
		switch num {
		case 1:
			name, f = w.once(num, (*wire).label)
		case 2:
			version, f = w.once(num, (*wire).label)
		default:
			f = w.unknown(num)
		}
		return f.in(named([]string{"", "name", "version"}, num))
	})
	if f == nil && name == "" {
		f = w.fault("give it a name", `"name" is missing`)
	}
	if f != nil {
		return "", "", f.error(pavise.Invalid)
	}
	return name, version, nil
}

// AppendFlag writes a ServerLiveResponse, a ServerReadyResponse or a ModelReadyResponse.
func AppendFlag(dst []byte, yes bool) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, 1, protowire.VarintType), protowire.EncodeBool(yes))
}

// AppendServer writes a ServerMetadataResponse.
func AppendServer(dst []byte, name, version string, extensions []string) []byte {
	dst = appendText(appendText(dst, 1, name), 2, version)
	for _, e := range extensions {
		dst = appendText(dst, 3, e)
	}
	return dst
}

// AppendMetadata writes a ModelMetadataResponse.
func AppendMetadata(dst []byte, name, platform string, sig tensor.Signature) []byte {
	dst = appendText(appendText(dst, 1, name), 3, platform)
	dst = appendPorts(dst, 4, sig.Inputs)
	return appendPorts(dst, 5, sig.Outputs)
}

func appendPorts(dst []byte, num protowire.Number, ports []tensor.Port) []byte {
	for _, p := range ports {
		one := appendText(appendText(nil, tensorName, p.Name), tensorDatatype, string(p.Datatype))
		var dims []byte
		for _, dim := range p.Shape {
			dims = protowire.AppendVarint(dims, uint64(dim))
		}
		one = protowire.AppendBytes(protowire.AppendTag(one, tensorShape, protowire.BytesType), dims)
		dst = protowire.AppendBytes(protowire.AppendTag(dst, num, protowire.BytesType), one)
	}
	return dst
}

// ParseMetadata reads the ModelMetadataResponse of a model server: its ports. Servers
// tell more than the protocol asks, so fields that are not known pass; those that are
// come as the protocol has them. The error is of kind Unavailable.
func ParseMetadata(body []byte, lim tensor.Limits) (sig tensor.Signature, err error) {
	w := newWire(body, lim)
	f := w.message(func(num protowire.Number) (f *fault) {
		switch num {
		case 4:
			sig.Inputs, f = w.port(sig.Inputs)
		case 5:
			sig.Outputs, f = w.port(sig.Outputs)
		default:
			f = w.skip(num)
		}
		return f
	})
	if f != nil {
		return tensor.Signature{}, f.error(pavise.Unavailable)
	}
	return sig, nil
}

// port reads one TensorMetadata onto list.
func (w *wire) port(list []tensor.Port) ([]tensor.Port, *fault) {
	if len(list) == w.lim.MaxTensors {
		return nil, w.fault("", "more than %d tensors", w.lim.MaxTensors)
	}
	var t tensor.Tensor
	f := w.inside(tensorFields, func(num protowire.Number) (f *fault) {
		switch num {
		case tensorName:
			t.Name, f = w.once(num, (*wire).label)
		case tensorDatatype:
			t.Datatype, f = w.datatype(num)
		case tensorShape:
			f = w.shape(&t)
		default:
			f = w.skip(num)
		}
		return f
	})
	return append(list, tensor.Port{Name: t.Name, Datatype: t.Datatype, Shape: t.Shape}), f
}

// skip moves past a value.
func (w *wire) skip(num protowire.Number) *fault {
	n := protowire.ConsumeFieldValue(num, w.kind, w.text[w.pos:])
	if n < 0 {
		return w.fault("", "the message ends inside a value")
	}
	w.pos += n
	return nil
}

// RecordParameter is the parameter of a streamed answer that names its record: a stream
// has one trailer, and an answer each.
const RecordParameter = "pavise_record"

// AppendStreamed writes a ModelStreamInferResponse around a ModelInferResponse, to which
// it adds the index of the record.
func AppendStreamed(dst, answer []byte, record uint64) []byte {
	value := protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), record)
	entry := appendText(nil, 1, RecordParameter)
	entry = protowire.AppendBytes(protowire.AppendTag(entry, 2, protowire.BytesType), value)
	size := len(answer) + protowire.SizeTag(tellParameters) + protowire.SizeBytes(len(entry))
	dst = protowire.AppendVarint(protowire.AppendTag(dst, 2, protowire.BytesType), uint64(size))
	dst = append(dst, answer...)
	return protowire.AppendBytes(protowire.AppendTag(dst, tellParameters, protowire.BytesType), entry)
}

// AppendStreamError writes a ModelStreamInferResponse that is an error.
func AppendStreamError(dst []byte, msg string) []byte { return appendText(dst, 1, msg) }

// AppendStatus writes a google.rpc.Status, with google.rpc.RetryInfo if there are
// seconds to wait.
func AppendStatus(dst []byte, code int, msg string, wait int) []byte {
	dst = protowire.AppendVarint(protowire.AppendTag(dst, 1, protowire.VarintType), uint64(code))
	dst = appendText(dst, 2, msg)
	if wait <= 0 {
		return dst
	}
	seconds := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(wait))
	info := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), seconds)
	detail := appendText(nil, 1, "type.googleapis.com/google.rpc.RetryInfo")
	detail = protowire.AppendBytes(protowire.AppendTag(detail, 2, protowire.BytesType), info)
	return protowire.AppendBytes(protowire.AppendTag(dst, 3, protowire.BytesType), detail)
}
