package extproc

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	proc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	kind "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// maxPart is the largest part of a body that goes to a proxy in one message, in bytes,
// as Envoy's documentation of FULL_DUPLEX_STREAMED recommends.
const maxPart = 64 << 10

// Metadata is the namespace of what we tell the proxy of an exchange as dynamic
// metadata, for its access log.
const Metadata = "pavise"

// recordHeader is the field in which package edge names the record of a decision.
const recordHeader = "Pavise-Record"

// passed are the fields of a request that the model server gets as the caller's side
// sent them: they trace the request, and the proxy keeps them itself. All others end
// here, credentials first of all.
var passed = []string{"x-request-id", "traceparent", "tracestate", "x-forwarded-for", "x-forwarded-proto"}

// strip removes all fields but those that pass, what is set anew, and what a proxy does
// not let us touch.
func strip(fields []field, pass []string, set http.Header) *proc.HeaderMutation {
	m := &proc.HeaderMutation{SetHeaders: options(set)}
	for _, f := range fields {
		_, anew := set[http.CanonicalHeaderKey(f.name)]
		if f.name[0] == ':' || f.name == "host" || strings.HasPrefix(f.name, "x-envoy-") || anew || slices.Contains(pass, f.name) || slices.Contains(m.RemoveHeaders, f.name) {
			continue
		}
		m.RemoveHeaders = append(m.RemoveHeaders, f.name)
	}
	return m
}

// options spells a header as instructions to set its fields, in order of their names.
func options(h http.Header) []*core.HeaderValueOption {
	var set []*core.HeaderValueOption
	for name, values := range h {
		for i, value := range values {
			how := core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD
			if i > 0 {
				how = core.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD
			}
			set = append(set, &core.HeaderValueOption{
				Header: &core.HeaderValue{Key: strings.ToLower(name), RawValue: []byte(value)}, AppendAction: how,
			})
		}
	}
	slices.SortStableFunc(set, func(a, b *core.HeaderValueOption) int { return strings.Compare(a.Header.Key, b.Header.Key) })
	return set
}

// withLength is a header with the length of the body that goes with it.
func withLength(h http.Header, body []byte) http.Header {
	h = h.Clone()
	if h == nil {
		h = http.Header{}
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	return h
}

// replaced is a body in the place of another; none is no body at all.
func replaced(body []byte) *proc.BodyMutation {
	if len(body) == 0 {
		return &proc.BodyMutation{Mutation: &proc.BodyMutation_ClearBody{ClearBody: true}}
	}
	return &proc.BodyMutation{Mutation: &proc.BodyMutation_Body{Body: body}}
}

// part is a part of a body in a mode in which both sides stream.
func part(body []byte, last bool) *proc.CommonResponse {
	return &proc.CommonResponse{BodyMutation: &proc.BodyMutation{Mutation: &proc.BodyMutation_StreamedResponse{
		StreamedResponse: &proc.StreamedBodyResponse{Body: body, EndOfStream: last},
	}}}
}

// parts cuts a body that is streamed. Where last is set the last one says so, were it
// empty.
func parts(body []byte, last bool) (all []*proc.CommonResponse) {
	for len(body) > maxPart {
		all = append(all, part(body[:maxPart], false))
		body = body[maxPart:]
	}
	if len(body) > 0 || last {
		all = append(all, part(body, last))
	}
	return all
}

// immediate is the answer that the caller gets at once, whatever came before.
func immediate(status int, header http.Header, body []byte) *proc.ImmediateResponse {
	header = header.Clone()
	header.Del("Content-Length") // the proxy sets it
	return &proc.ImmediateResponse{
		Status: &kind.HttpStatus{Code: kind.StatusCode(status)}, Headers: &proc.HeaderMutation{SetHeaders: options(header)},
		Body: body, Details: "pavise",
	}
}

// told is what the proxy may log of an exchange whose record is known; nil if it is not.
func told(header http.Header, outcome string) *structpb.Struct {
	record := header.Get(recordHeader)
	if record == "" {
		return nil
	}
	return &structpb.Struct{Fields: map[string]*structpb.Value{Metadata: structpb.NewStructValue(&structpb.Struct{
		Fields: map[string]*structpb.Value{"record": structpb.NewStringValue(record), "outcome": structpb.NewStringValue(outcome)},
	})}}
}
