package tensor

import "github.com/pavise/pavise"

// A Message is one body of a protocol, and what the transport says of it.
type Message struct {
	Body []byte
	// Header is the length of the JSON part when binary tensors follow it, as
	// the header Inference-Header-Content-Length has it. NoHeader: the whole
	// body is one text. 0: none of it is text.
	Header int
}

// NoHeader is the Header of a message without binary tensors.
const NoHeader = -1

// A Protocol is one way to spell an exchange. A caller may speak another one
// than the model server behind the route: what the two share is the exchange.
//
// Parsing is strict and takes no more memory than the limits allow; what it
// returns shares no memory with the message. Encoding appends to dst, and the
// message's body is all of it.
type Protocol interface {
	// ParseRequest reads a caller's request of a model with the given
	// signature. The error is a *pavise.Error of kind Invalid that says what is
	// wrong, where, and what to do.
	ParseRequest(m Message, sig Signature, lim Limits) (*Request, error)
	// AppendRequest encodes a request for a model server.
	AppendRequest(dst []byte, r *Request) (Message, error)
	// ParseResponse reads a model server's answer to r. The error is a
	// *pavise.Error of kind Unavailable: it is not the caller's fault.
	ParseResponse(m Message, r *Request, sig Signature, lim Limits) (*Response, error)
	// AppendResponse encodes the answer to r for a caller.
	AppendResponse(dst []byte, r *Request, a *Response) (Message, error)
}

// The names by which a route says what its model server speaks. Those of
// language models have no tensors, and so no Protocol here.
const (
	NameOIP        = "oip"        // Open Inference Protocol v2 over HTTP
	NameOIPBinary  = "oip-binary" // the same with tensors as raw bytes
	NameOIPGRPC    = "oip-grpc"   // Open Inference Protocol v2 over gRPC
	NameV1         = "v1"         // KServe v1
	NameTFServing  = "tfserving"  // TensorFlow Serving over HTTP
	NameTorchServe = "torchserve" // TorchServe
	NameMLflow     = "mlflow"     // MLflow's scoring server
	NameOpenAI     = "openai"     // OpenAI's
)

// Names are all of them, in the order in which they are told.
var Names = []string{NameOIP, NameOIPBinary, NameOIPGRPC, NameV1, NameTFServing, NameTorchServe, NameMLflow, NameOpenAI}

// Named returns the protocol of that name, or nil if its exchange is not one of
// tensors, or is in package oipgrpc.
func Named(name string) Protocol {
	switch name {
	case NameOIP:
		return OIP
	case NameOIPBinary:
		return OIPBinary
	case NameV1:
		return V1
	case NameTFServing:
		return TFServing
	case NameTorchServe:
		return TorchServe
	case NameMLflow:
		return MLflow
	}
	return nil
}

// NameOf returns the name of a protocol, or nothing for one that is none of these.
func NameOf(p Protocol) string {
	switch p {
	case OIP, OIPBinary:
		return NameOIP
	case V1:
		return NameV1
	case TFServing:
		return NameTFServing
	case TorchServe:
		return NameTorchServe
	case MLflow:
		return NameMLflow
	}
	return ""
}

// OIP is the Open Inference Protocol v2, REST form. What it writes to model servers is
// JSON, but for tensors that JSON cannot carry. A caller gets each output as it was
// asked for, as text or as raw bytes.
var OIP Protocol = oip{}

// OIPBinary is OIP with every tensor to and from a model server as raw bytes, which
// spares both sides the writing and reading of numbers.
var OIPBinary Protocol = oip{binary: true}

type oip struct{ binary bool }

// ParseRequest reads the body of POST v2/models/{model}/infer. It is stricter
// than JSON: one object and nothing around it; only known keys, spelled exactly
// and given once; no parameters but those of the binary tensor extension; and data
// that has the shape and the datatype it declares.
func (oip) ParseRequest(m Message, sig Signature, lim Limits) (*Request, error) {
	s := newScanner(m.Body, lim)
	r := lim.Room.newRequest()
	f := s.split(m)
	switch {
	case f != nil:
	case m.Header == 0:
		f = s.onlyRaw(r, sig)
	default:
		f = s.whole(func() *fault { return s.request(r) })
	}
	if f != nil {
		return nil, f.error(pavise.Invalid)
	}
	return r, nil
}

func (o oip) AppendRequest(dst []byte, r *Request) (Message, error) {
	if o.binary {
		return appendRequest(dst, r, asRaw, true)
	}
	return appendRequest(dst, r, asMust, false)
}

// ParseResponse reads an answer as strictly as ParseRequest reads a request, but for
// what servers add without being asked: an absent id, version or parameters may be
// null, and parameters may hold plain values, which are read and dropped.
func (oip) ParseResponse(m Message, to *Request, sig Signature, lim Limits) (*Response, error) {
	lim.Room = nil // the request is in it
	s, a := scanners.Get().(*scanner), newAnswer(to)
	defer s.free()
	*s = scanner{text: m.Body, lim: lim, left: lim.MaxElements, answer: a, ports: sig.Outputs}
	f := s.split(m)
	if f == nil {
		f = s.whole(func() *fault { return s.response(&a.Response) })
	}
	if f != nil {
		return nil, f.error(pavise.Unavailable)
	}
	return &a.Response, nil
}

func (oip) AppendResponse(dst []byte, r *Request, a *Response) (Message, error) {
	return appendResponse(dst, a, func(t *Tensor) bool { return r.RawOutput(t.Name) })
}
