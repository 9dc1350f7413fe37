package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pavise/pavise"
)

// The types that a request of OTLP may have.
const (
	typeProtobuf = "application/x-protobuf"
	typeJSON     = "application/json"
)

// noneNamed is the name under which a request is recorded that names no source.
const noneNamed = "otlp-logs"

// LogsDoor serves OTLP/HTTP logs, POST /v1/logs (OTLP 1.x). The attribute pavise.source of
// each resource says which source its records are of, of the caller's tenant; the records of
// one are one batch. The answer is as OTLP has it: a partial success counts the records that
// were not let in, with the reason; a refusal of everything is a google.rpc.Status.
func (g *Gate) LogsDoor(d Door) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, known := d.known(w, r)
		if !known {
			return
		}
		kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || kind != typeProtobuf && kind != typeJSON {
			err := badOTLP("it is of the type %.80q", r.Header.Get("Content-Type"))
			d.Refuse(w, g.turnedAway(r.Context(), who, err))
			return
		}
		hold := g.bodies.Begin(who.Name())
		defer hold.Free()
		var in logs
		body, err := unpacked(r, maxOTLP, hold.Read)
		if err == nil && kind == typeProtobuf {
			err = in.readProtobuf(body)
		} else if err == nil {
			err = in.readJSON(body)
		}
		if err == nil {
			err = hold.Set(len(body) + in.size)
		}
		if err != nil {
			answerStatus(w, kind, g.turnedAway(r.Context(), who, err))
			return
		}
		g.deliver(r.Context(), w, who, kind, in.all)
	})
}

// turnedAway records that a request for no source in particular was refused, and returns why.
func (g *Gate) turnedAway(ctx context.Context, who pavise.Principal, why error) (err error) {
	entry, err := g.cfg.Guard.Enter(ctx, who, "ingest.push", pavise.Name{Tenant: who.Tenant, Kind: KindSource, ID: noneNamed})
	if err != nil {
		return err
	}
	defer entry.Exit(&err)
	return why
}

// deliver brings the records of a request to their sources, and answers.
func (g *Gate) deliver(ctx context.Context, w http.ResponseWriter, who pavise.Principal, kind string, all []*delivery) {
	rejected, taken := 0, 0
	var words []string
	var worst error
	for _, d := range all {
		if d.rows == 0 {
			continue
		}
		receipt, err := g.bring(ctx, who, d)
		switch {
		case err != nil:
			rejected += d.rows
			words = append(words, pavise.MsgOf(err))
			if worst == nil || again(err) {
				worst = err
			}
		case receipt.Verdict == Held:
			taken++
			rejected += d.rows
			words = append(words, fmt.Sprintf("%d records for %s are in quarantine: %s", d.rows, d.source, receipt.Reasons[0]))
		case receipt.Barred():
			taken++
			rejected += d.rows
			words = append(words, fmt.Sprintf("%d records for %s came before: %s", d.rows, d.source, strings.Join(receipt.Reasons, ": ")))
		default:
			taken++
		}
	}
	if worst != nil && (taken == 0 || again(worst)) {
		answerStatus(w, kind, worst) // what was let in already counts once when it comes again
		return
	}
	answerPartial(w, kind, rejected, clip(strings.Join(words, "; ")))
}

// again reports whether a sender may send what was refused again.
func again(err error) bool {
	kind := pavise.KindOf(err)
	return kind == pavise.Throttled || kind == pavise.Unavailable
}

// bring brings the records for one source.
func (g *Gate) bring(ctx context.Context, who pavise.Principal, d *delivery) (Receipt, error) {
	name := pavise.Name{Tenant: who.Tenant, Kind: KindSource, ID: d.source}
	if d.source == "" {
		return Receipt{}, g.turnedAway(ctx, who, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%d records are of a resource without the attribute %s", d.rows, sourceAttribute), Hint: "OTEL_RESOURCE_ATTRIBUTES=" + sourceAttribute + "=NAME says which source they are of"})
	}
	if err := name.Validate(); err != nil {
		return Receipt{}, g.turnedAway(ctx, who, err)
	}
	return g.receive(ctx, who, name, func(*terms) (Batch, error) {
		return Batch{Form: FormOTLP, Body: d.lines, Writer: who.Name().String(), doubts: d.doubts}, nil
	})
}

// answerPartial answers with an ExportLogsServiceResponse.
func answerPartial(w http.ResponseWriter, kind string, rejected int, words string) {
	w.Header().Set("Content-Type", kind)
	if kind == typeJSON {
		answer := map[string]any{}
		if rejected > 0 {
			answer["partialSuccess"] = map[string]string{"rejectedLogRecords": strconv.Itoa(rejected), "errorMessage": words}
		}
		_ = json.NewEncoder(w).Encode(answer) // who is gone sends again, and it counts once
		return
	}
	var answer []byte
	if rejected > 0 {
		partial := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(rejected))
		partial = protowire.AppendString(protowire.AppendTag(partial, 2, protowire.BytesType), words)
		answer = protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), partial)
	}
	_, _ = w.Write(answer)
}

// codes are google.rpc's, by kind.
var codes = map[pavise.Kind]uint64{
	pavise.Invalid: 3, pavise.Denied: 7, pavise.NotFound: 5, pavise.Conflict: 9, pavise.Throttled: 8, pavise.Unverified: 16, pavise.Unavailable: 14, pavise.Internal: 13,
}

// answerStatus answers with a google.rpc.Status.
func answerStatus(w http.ResponseWriter, kind string, err error) {
	words := "internal error"
	if e, ok := errors.AsType[*pavise.Error](err); ok {
		words = e.Msg
		if e.Hint != "" {
			words += " (" + e.Hint + ")"
		}
	}
	w.Header().Set("Content-Type", kind)
	if again(err) {
		w.Header().Set("Retry-After", "1")
	}
	code := codes[pavise.KindOf(err)]
	w.WriteHeader(pavise.KindOf(err).HTTPStatus())
	if kind == typeJSON {
		_ = json.NewEncoder(w).Encode(map[string]any{"code": code, "message": words})
		return
	}
	answer := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), code)
	_, _ = w.Write(protowire.AppendString(protowire.AppendTag(answer, 2, protowire.BytesType), words))
}
