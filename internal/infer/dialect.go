package infer

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/plainjson"
	"github.com/pavise/pavise/internal/tensor"
	"github.com/pavise/pavise/internal/tensor/oipgrpc"
)

// A Place is where a model runs, and how it is asked there.
type Place struct {
	Address  string // of the server: http://host:port
	Model    string // its name there
	Version  string // the one that is asked; empty: the server chooses
	Protocol string // what the server speaks, one of tensor.Names
	TLS      string // which of the options that WithTLS names; empty: the system's authorities, and no certificate
}

// Validate reports, as an error of kind Invalid, what is wrong with the place.
func (p Place) Validate() error {
	refuse := func(hint, format string, args ...any) error {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf(format, args...), Hint: hint}
	}
	switch d, known := dialects[p.Protocol]; {
	case !slices.Contains(tensor.Names, p.Protocol):
		return refuse("protocols are "+strings.Join(tensor.Names, ", "), "protocol %.60q is none", p.Protocol)
	case p.Model == "" || p.Model == "." || p.Model == "..":
		return refuse("give the name that it has on the server, with --remote", "%q is no name of a model", p.Model)
	case p.Version != "" && strings.Trim(p.Version, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-") != "", p.Version == ".", p.Version == "..", len(p.Version) > 64:
		return refuse("versions are of letters, digits, dots, dashes and underscores: 64 at most", "%.80q is no version", p.Version)
	case p.TLS != "" && !validTLSName(p.TLS):
		return refuse("use a name that model_tls in pavise.yaml has", "%.80q is no name of options of TLS", p.TLS)
	case p.TLS != "" && p.Address == External:
		return refuse("leave it out: the proxy has a connection of its own", "options of TLS are of model servers that Pavise asks itself")
	case p.Version != "" && known && !d.versions:
		return refuse("leave the version out: one server has one version", "%s has no versions", p.Protocol)
	}
	return nil
}

// Spoken returns the codec of the protocol of that name, or nil if its exchange is not
// one of tensors.
func Spoken(name string) tensor.Protocol {
	if name == tensor.NameOIPGRPC {
		return oipgrpc.Protocol
	}
	return tensor.Named(name)
}

// NameOf returns the name of a protocol, by which its requests are counted.
func NameOf(p tensor.Protocol) string {
	if p == oipgrpc.Protocol {
		return tensor.NameOIPGRPC
	}
	return tensor.NameOf(p)
}

// A dialect is how a protocol is spoken over HTTP.
type dialect struct {
	versions bool                 // paths can name a version
	infer    func(p Place) string // path of the question, escaped
	about    func(p Place) string // path of what the model takes and gives; nil: the server cannot say
	read     func(body []byte) (tensor.Signature, error)
	alive    func(p Place) string // path of a GET that shows whether a server is there, and perhaps the model; nil: about does
	grpc     bool                 // the messages are those of gRPC: see framed
}

// overOIP is the REST form of the Open Inference Protocol, with raw bytes or without.
var overOIP = dialect{
	versions: true,
	infer:    func(p Place) string { return within("/v2/models", "/versions/", p) + "/infer" },
	about:    func(p Place) string { return within("/v2/models", "/versions/", p) },
	read:     readOIP,
}

// dialects has those that are spoken here, by name.
var dialects = map[string]dialect{
	tensor.NameOIP:       overOIP,
	tensor.NameOIPBinary: overOIP,
	tensor.NameOIPGRPC: {
		versions: true, grpc: true,
		infer: func(Place) string { return grpcService + "ModelInfer" },
		about: func(Place) string { return grpcService + "ModelMetadata" },
		read: func(body []byte) (tensor.Signature, error) {
			return oipgrpc.ParseMetadata(body, tensor.DefaultLimits())
		},
	},
	tensor.NameV1: {
		infer: func(p Place) string { return within("/v1/models", "/versions/", p) + ":predict" },
		alive: func(p Place) string { return within("/v1/models", "/versions/", p) },
	},
	tensor.NameTFServing: {
		versions: true,
		infer:    func(p Place) string { return within("/v1/models", "/versions/", p) + ":predict" },
		about:    func(p Place) string { return within("/v1/models", "/versions/", p) + "/metadata" },
		read:     readTFServing,
		alive:    func(p Place) string { return within("/v1/models", "/versions/", p) },
	},
	tensor.NameTorchServe: {
		versions: true,
		infer:    func(p Place) string { return within("/predictions", "/", p) },
		alive:    func(Place) string { return "/ping" },
	},
	tensor.NameMLflow: {
		infer: func(Place) string { return "/invocations" },
		alive: func(Place) string { return "/ping" },
	},
}

// within is the path of a model below a root, and of its version if it has one.
func within(root, versions string, p Place) string {
	path := root + "/" + url.PathEscape(p.Model)
	if p.Version != "" {
		path += versions + url.PathEscape(p.Version)
	}
	return path
}

// readOIP reads the metadata of the Open Inference Protocol. Servers tell more than
// it asks, so unknown keys pass.
func readOIP(body []byte) (s tensor.Signature, err error) {
	return s, plainjson.Read(body, &s)
}

// tfTypes are the datatypes of TensorFlow that have a tensor.Datatype.
var tfTypes = map[string]tensor.Datatype{
	"DT_BOOL": tensor.Bool, "DT_UINT8": tensor.Uint8, "DT_UINT16": tensor.Uint16, "DT_UINT32": tensor.Uint32, "DT_UINT64": tensor.Uint64,
	"DT_INT8": tensor.Int8, "DT_INT16": tensor.Int16, "DT_INT32": tensor.Int32, "DT_INT64": tensor.Int64,
	"DT_HALF": tensor.FP16, "DT_FLOAT": tensor.FP32, "DT_DOUBLE": tensor.FP64, "DT_STRING": tensor.Bytes,
}

// A tfTensor is TensorInfo of tensorflow/core/protobuf/meta_graph.proto, as JSON.
type tfTensor struct {
	Datatype string `json:"dtype"`
	Shape    struct {
		Dim []struct {
			Size string `json:"size"`
		} `json:"dim"`
		Unknown bool `json:"unknown_rank"`
	} `json:"tensor_shape"`
}

// readTFServing reads the signature serving_default out of the metadata of
// TensorFlow Serving.
func readTFServing(body []byte) (s tensor.Signature, err error) {
	var answer struct {
		Metadata struct {
			Outer struct {
				Inner map[string]struct {
					Inputs  map[string]tfTensor `json:"inputs"`
					Outputs map[string]tfTensor `json:"outputs"`
				} `json:"signature_def"`
			} `json:"signature_def"`
		} `json:"metadata"`
	}
	// encoding/json, not plainjson: names of inputs may differ in case alone.
	if err := json.Unmarshal(body, &answer); err != nil {
		return s, err
	}
	def, ok := answer.Metadata.Outer.Inner["serving_default"]
	if !ok {
		return s, fmt.Errorf("it has no signature serving_default")
	}
	if s.Inputs, err = tfPorts(def.Inputs); err == nil {
		s.Outputs, err = tfPorts(def.Outputs)
	}
	return s, err
}

// maxPorts bounds what a server may say that its model takes, or gives.
const maxPorts = 1024

// tfPorts are the ports of one side of a signature, by name: the protocol has no
// order of them.
func tfPorts(side map[string]tfTensor) (ports []tensor.Port, err error) {
	if len(side) > maxPorts {
		return nil, fmt.Errorf("it has %d inputs or outputs, more than %d", len(side), maxPorts)
	}
	for _, name := range slices.Sorted(maps.Keys(side)) {
		t := side[name]
		p := tensor.Port{Name: name, Datatype: tfTypes[t.Datatype]}
		if p.Datatype == "" || t.Shape.Unknown {
			return nil, fmt.Errorf("%.80q has the datatype %.40q and a shape that is not known here", name, t.Datatype)
		}
		for _, dim := range t.Shape.Dim {
			size, err := strconv.ParseInt(dim.Size, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%.80q has a dimension %.40q", name, dim.Size)
			}
			p.Shape = append(p.Shape, size)
		}
		ports = append(ports, p)
	}
	return ports, nil
}
