package main

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/api"
	"github.com/pavise/pavise/internal/verbs"
)

// readName fills a field with the name of a thing. The parser takes whole names alone, so
// one of which something is left out stands there whole, with stand-ins, until
// completeNames fills in the tenant, which is the caller's own, and the kind, which the
// verb says.
func (c *cli) readName(ctx *kong.DecodeContext, field reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("name", &text); err != nil {
		return err
	}
	name, err := shortName(text)
	if err != nil {
		return err
	}
	whole := pavise.Name{Tenant: cmp.Or(name.Tenant, "x"), Kind: cmp.Or(name.Kind, "x"), ID: name.ID}
	if whole != name {
		if c.short == nil {
			c.short = map[pavise.Name]pavise.Name{}
		}
		c.short[whole] = name
	}
	field.Set(reflect.ValueOf(whole))
	return nil
}

// shortName reads id, kind/id or tenant/kind/id.
func shortName(text string) (pavise.Name, error) {
	const some = "x/"
	parts := strings.Count(text, "/")
	if parts >= 2 {
		return pavise.ParseName(text)
	}
	name, err := pavise.ParseName(strings.Repeat(some, 2-parts) + text)
	if name.Tenant = ""; parts == 0 {
		name.Kind = ""
	}
	return name, err
}

// completeNames gives the names in a request of a verb what was left out of them.
func (c *cli) completeNames(ctx context.Context, client *api.Client, verb string, request reflect.Value) error {
	who := verbs.Whoami{}
	complete := func(name pavise.Name, kind string) (pavise.Name, error) {
		if name.ID == "" || name.Tenant != "" {
			return name, nil
		}
		if name.Kind == "" && kind == "" {
			return name, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s may be of several kinds", name.ID), Hint: "write it as kind/id, for example human/ana or model/fraud"}
		}
		if name.Kind == "" {
			name.Kind = kind
		}
		if who.Name.Tenant == "" {
			if err := client.Call(ctx, "issuer.whoami", api.Empty{}, &who); err != nil {
				return name, err
			}
		}
		name.Tenant = who.Name.Tenant
		return name, nil
	}
	for _, field := range reflect.VisibleFields(request.Type()) {
		value := request.FieldByIndex(field.Index)
		switch at := value.Addr().Interface().(type) {
		case *pavise.Name:
			short, is := c.short[*at]
			if !is {
				continue
			}
			name, err := complete(short, kindOf(verb, field.Name, request))
			if err != nil {
				return err
			}
			*at = name
		case *string:
			if field.Name != "Name" || !strings.HasPrefix(verb, "route.") {
				continue
			}
			name, err := shortName(*at)
			if err == nil {
				name, err = complete(name, "model")
			}
			if err != nil {
				return err
			}
			*at = name.String()
		}
	}
	return nil
}

// kindOf is the kind of thing that a verb, or the verb that its request asks about, is done
// to; "" if there is not just one. Verbs on routes, tiers and drift name the model.
func kindOf(verb, field string, request reflect.Value) string {
	if strings.HasPrefix(verb, "route.") || verb == "watermark.export" || (strings.HasPrefix(verb, "tier.") || strings.HasPrefix(verb, "drift.")) && field == "Model" {
		return "model"
	}
	if noun, _, _ := strings.Cut(verb, "."); verbs.KindOf(noun) != "" {
		return verbs.KindOf(noun)
	}
	about := request.FieldByName("Verb")
	if !about.IsValid() || about.Kind() != reflect.String {
		return ""
	}
	table := verbs.Table()
	i := slices.IndexFunc(table, func(v api.Verb) bool { return v.Name == about.String() })
	if i < 0 || len(table[i].On) == 0 {
		return ""
	}
	return table[i].On[0]
}

// oneOfEach refuses a flag that is given again where there is room for one value, and a
// number below its bound: the last would win, or nothing be changed, in silence.
func oneOfEach(path []*kong.Path) error {
	given := map[string]bool{}
	for _, p := range path {
		f := p.Flag
		if f == nil || p.Resolved {
			continue
		}
		if given[f.Name] && !f.IsSlice() && !f.IsMap() && !f.IsCumulative() {
			hint := "give it once"
			if f.Name == "upstream" {
				hint = "name one with --upstream, and each further server of the same model with --replica"
			}
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("--%s is given more than once", f.Name), Hint: hint}
		}
		given[f.Name] = true
		if least := f.Tag.Get("minimum"); least == "1" && f.Target.CanInt() && f.Target.IsZero() {
			return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("--%s: at least %s", f.Name, least), Hint: "leave it out to have it as it is"}
		}
	}
	return nil
}
