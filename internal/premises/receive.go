package premises

import (
	"context"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/config"
	"github.com/pavise/pavise/internal/gate"
	"github.com/pavise/pavise/internal/receiver"
)

// OpenReceivers opens what fetches records for the gate, from where the configuration lets
// it; nil lets it from nowhere.
func (h *House) OpenReceivers(ctx context.Context, from *config.Receive) (err error) {
	cfg := receiver.Config{Guard: h.Guard, Store: h.DB, Gate: intoGate{h.Gate}, Scratch: h.Data.Path("receiving"), Now: h.Now, Say: h.Say}
	if from != nil {
		cfg.Roots = from.Roots
		for _, s := range from.Servers {
			cfg.Servers = append(cfg.Servers, receiver.Server{
				Name: s.Name, Address: s.Address, Credentials: s.Credentials, Authorities: s.Authorities, Certificate: s.Certificate, Key: s.Key, Pin: s.Pin,
			})
		}
	}
	h.Receivers, err = receiver.Open(ctx, cfg)
	return err
}

// intoGate is the gate as receivers know it.
type intoGate struct{ gate *gate.Gate }

// Form is receiver.Gate's.
func (g intoGate) Form(source pavise.Name) (string, error) { return g.gate.Form(source) }

// Admit is receiver.Gate's.
func (g intoGate) Admit(ctx context.Context, who pavise.Principal, source pavise.Name, b receiver.Batch) (receiver.Receipt, error) {
	receipt, err := g.gate.Admit(ctx, who, source, gate.Batch{
		ID: b.ID, Form: b.Form, Body: b.Body, Placed: b.Placed, Writer: b.Writer, At: b.At, Signature: b.Signature, Doubt: b.Doubt,
	})
	return receiver.Receipt{Verdict: receipt.Verdict, SHA256: receipt.SHA256, Rows: receipt.Rows, Reasons: receipt.Reasons}, err
}
