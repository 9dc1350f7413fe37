package artefact

import (
	"fmt"
	"strings"

	"github.com/pavise/pavise/internal/globals"
)

// bare follows an opcode without an argument.
func (p *pickle) bare(op byte) error {
	switch op {
	case '(':
		p.marks = append(p.marks, len(p.stack))
		if len(p.marks) > maxStack {
			p.bound = true
			return p.wrong("its marks grow without end")
		}
	case 'N', 0x88, 0x89, 0x97:
		p.push(nothing)
	case 0x98: // a buffer, read only
		_, err := p.top()
		return err
	case '}':
		p.push(&value{kind: aDict})
	case ']', 0x8f:
		p.push(&value{kind: aList})
	case ')':
		p.push(&value{kind: aTuple})
	case 0x85, 0x86, 0x87:
		return p.tuple(p.take(int(op - 0x84)))
	case 't':
		return p.tuple(p.marked())
	case '0', '1', '2':
		return p.shuffle(op)
	case 0x94:
		return p.remember(uint64(len(p.memo) + len(p.sparse)))
	case 'l', 'd', 0x91, 'a', 'e', 0x90, 's', 'u':
		return p.collect(op)
	case 'Q':
		if _, err := p.pop(); err != nil {
			return err
		}
		p.push(&value{kind: anObject})
	case 'R', 'o', 0x81, 0x92, 0x93, 'b':
		return p.act(op)
	default:
		return p.wrong(fmt.Sprintf("there is no opcode %#02x", op))
	}
	return nil
}

func (p *pickle) tuple(items []*value, err error) error {
	v := &value{kind: aTuple}
	v.hold(items...)
	if err == nil {
		p.handed(items...)
		p.push(v)
	}
	return err
}

// shuffle follows the opcodes that move what is on the stack.
func (p *pickle) shuffle(op byte) error {
	switch {
	case op == '1' || op == '0' && len(p.stack) == p.floor() && len(p.marks) > 0: // of POP the mark goes where nothing is above it
		_, err := p.marked()
		return err
	case op == '0':
		_, err := p.pop()
		return err
	}
	v, err := p.top()
	if err == nil {
		p.push(v)
	}
	return err
}

// collect follows the opcodes that fill containers.
func (p *pickle) collect(op byte) error {
	var items []*value
	var err error
	switch op {
	case 'a':
		items, err = p.take(1)
	case 's':
		items, err = p.take(2)
	default:
		items, err = p.marked()
	}
	if err != nil {
		return err
	}
	p.handed(items...)
	into := &value{kind: aList}
	switch op {
	case 'd':
		into.kind = aDict
		fallthrough
	case 'l', 0x91:
		into.hold(items...)
		p.push(into)
		return nil
	}
	if into, err = p.top(); err != nil {
		return err
	}
	if into.kind == aGlobal {
		p.found(Suspicious, "pickle.change", nextVet, "it changes %s itself, for the whole process that loads it", into.text)
	}
	if op == 's' || op == 'u' || into.kind == aList || into.kind == anObject {
		if into != nothing {
			into.hold(items...)
		}
	}
	return nil
}

// act follows the opcodes that call something.
func (p *pickle) act(op byte) error {
	switch op {
	case 0x93:
		names, err := p.take(2)
		if err != nil {
			return err
		}
		if names[0].kind != aText || names[1].kind != aText || !names[0].whole || !names[1].whole {
			p.found(Malicious, "pickle.hidden", nextNever, "the name of what it imports is itself the outcome of a call, so that nobody reads it")
			p.push(&value{kind: aGlobal, text: "hidden.name", cut: 6})
			return nil
		}
		p.push(p.global(names[0].text, names[1].text))
	case 'o':
		items, err := p.marked()
		if err != nil {
			return err
		}
		if len(items) == 0 {
			return p.wrong("it calls nothing")
		}
		args := &value{kind: aTuple}
		args.hold(items[1:]...)
		p.handed(items[1:]...)
		p.push(p.call(items[0], args))
	case 'b':
		return p.build()
	default:
		n := 2
		if op == 0x92 {
			n = 3
		}
		items, err := p.take(n)
		if err != nil {
			return err
		}
		p.push(p.call(items[0], items[1]))
	}
	return nil
}

// build follows BUILD, and reads the array that joblib puts behind the wrapper of one.
func (p *pickle) build() error {
	items, err := p.take(1)
	if err != nil {
		return err
	}
	v, err := p.top()
	if err != nil {
		return err
	}
	switch v.kind {
	case aGlobal:
		p.found(Suspicious, "pickle.change", nextVet, "it changes attributes of %s itself, for the whole process that loads it", v.text)
	case anObject:
		v.state = items[0]
		p.handed(v.state)
		p.restored(v, v.state)
		switch {
		case v.made == nil || v.made.kind != aGlobal:
		case v.made.text == joblibWrapper && !p.forked:
			return p.array(v.state)
		case v.made.text == "functools.partial" && v.state.item(3) != nothing && v.state.item(3).kind != aDict || v.made.text == "functools.partial" && len(v.state.item(3).items) > 0:
			p.found(Suspicious, "pickle.change", nextVet, "it gives a function attributes of its own, by which other things are called")
		}
	}
	return nil
}

// classOf is the full name of the class that an object was made of; empty: it is not known.
func classOf(v *value) string {
	class := v.made
	if class != nil && class.kind == aGlobal && class.text == "copyreg._reconstructor" && len(v.items) > 0 {
		class = v.items[0].item(0)
	}
	if class == nil || class.kind != aGlobal {
		return ""
	}
	return class.text
}

// restored judges what an object is made again with: some classes run what stands in it.
func (p *pickle) restored(v, state *value) {
	runs := globals.RunsState(classOf(v))
	hidden := runs && (state.kind != aDict || len(state.items) >= maxHeld)
	for i := 0; i+1 < len(state.items) && state.kind == aDict && !hidden; i += 2 {
		k, x := state.items[i], state.items[i+1]
		hidden = runs && (k.kind != aText || !k.whole) || k.text == globals.RunKey && !(x.kind == aText && x.whole && globals.IsParser(x.text))
	}
	if hidden {
		p.found(Malicious, "pickle.state", nextNever, "it makes a distribution of SciPy again, which runs Python that stands in its state, and that is not what SciPy writes there")
	}
}

// found tells of something at the opcode that is followed.
func (p *pickle) found(s Severity, rule, next, format string, args ...any) {
	if p.said[s]++; p.said[s] > maxFindings {
		return // before it is put into words: so many are told at most
	}
	p.tell(Finding{Severity: s, Rule: rule, Offset: p.at, Opcode: opcodes[p.op], Why: fmt.Sprintf(format, args...), Next: next})
}

// global judges what is imported.
func (p *pickle) global(module, name string) *value {
	p.calls++
	if p.proto < 3 {
		module = globals.Renamed(module)
	}
	full := module + "." + name
	v := &value{kind: aGlobal, text: full, cut: int32(len(module))}
	switch judged, why := judge(module, name); {
	case full == getattr: // judged by what it is used for
	case judged == Malicious && !globals.IsName(full):
		p.found(Suspicious, "pickle.unknown", nextVet, "it imports %s, as no module is called", clip(full))
	case judged == Malicious:
		p.found(Malicious, "pickle.global", nextNever, "it imports %s, %s", clip(full), why)
	case judged == Suspicious:
		p.found(Suspicious, "pickle.unknown", nextVet, "it imports %s, %s", clip(full), why)
	}
	return v
}

// call judges what is called with what.
func (p *pickle) call(f, args *value) *value {
	p.calls++
	made := &value{kind: anObject, made: f, items: []*value{args}}
	if f.kind != aGlobal {
		p.found(Suspicious, "pickle.call", nextVet, "it calls what another call gave back, which can be anything")
		return made
	}
	if globals.IsName(f.text) {
		p.acts++
	}
	switch f.text {
	case "_codecs.encode":
		return p.encoded(args, made)
	case getattr:
		if got := reached(args); got != nil {
			return got
		}
		p.found(Malicious, "pickle.global", nextNever, "it imports %s, which reaches any attribute of anything", getattr)
	}
	if judged, _ := judge(f.module(), f.name()); judged == Malicious && globals.IsName(f.text) {
		if p.said[Malicious] >= maxFindings {
			return made // what it is called with would be put into words for nothing
		}
		p.found(Malicious, "pickle.call", nextNever, "it calls %s(%s) when it is loaded", clip(f.text), args.shown())
	}
	p.making(f, args)
	if by := p.through(f, args); by != nil {
		return by
	}
	return made
}

// making judges the constructors of known classes that act by what they are given: called here, or
// given to something that may call them.
func (p *pickle) making(f, args *value) {
	if p.op != 0x81 && p.op != 0x92 && globals.Makes(f.text) && (args.kind != aTuple || len(args.items) > 0) {
		p.found(Malicious, "pickle.call", nextNever, "it calls %s(%s), which reads that file, or asks that address, when it is loaded", clip(f.text), args.shown())
	}
	if strings.HasPrefix(f.text, "copyreg.") {
		return // which makes them by their __new__
	}
	for _, v := range args.items {
		if v.kind == aGlobal && globals.Makes(v.text) {
			p.found(Suspicious, "pickle.handed", nextVet, "it gives %s to %s, which may call it with the name of a file", v.text, clip(f.text))
		}
	}
}

// joblibWrapper is what joblib puts before the bytes of an array.
const joblibWrapper = "joblib.numpy_pickle.NumpyArrayWrapper"

// getattr is what some honest pickles ask for an attribute of their own.
const getattr = "builtins.getattr"

// reached is an attribute that honest pickles ask for: how a time zone is made again, and the bound
// method that SciPy's discrete distributions keep in their state. Nil: another one.
func reached(args *value) *value {
	of, name := args.item(0), args.item(1)
	switch {
	case args.kind != aTuple || len(args.items) != 2 || name.kind != aText || !name.whole:
	case of.kind == aGlobal && of.text == "zoneinfo.ZoneInfo" && name.text == "_unpickle":
		return &value{kind: aGlobal, text: of.text + "." + name.text, cut: of.cut}
	case of.kind == anObject && globals.RunsState(classOf(of)) && name.text == "_entropy":
		return &value{kind: anObject}
	}
	return nil
}

// handed tells of a caller that becomes part of something instead of being called.
func (p *pickle) handed(items ...*value) {
	for _, v := range items {
		if v.kind == aGlobal && v.text == getattr {
			p.found(Malicious, "pickle.global", nextNever, "it hands on %s, which reaches any attribute of anything", getattr)
		}
		if v.kind == aGlobal && globals.Calls(v.text) {
			rule := "pickle.handed"
			if v.text == joblibWrapper {
				rule = "joblib.array"
			}
			p.found(Suspicious, rule, nextVet, "it hands on %s, with which something else calls, loads or makes what it likes", v.text)
		}
	}
}

// through judges a caller by what it calls, and returns what that gives where the caller gives
// it back.
func (p *pickle) through(f, args *value) *value {
	if p.inCall > maxDepth {
		p.found(Suspicious, "pickle.call", nextVet, "it calls what calls without end")
		return nil
	}
	p.inCall++
	defer func() { p.inCall-- }()
	switch f.text {
	case "torch.storage._load_from_bytes":
		if len(args.items) == 1 && args.items[0].kind == someBytes && args.items[0].whole {
			p.nested([]byte(args.items[0].text), true)
		} else {
			p.found(Suspicious, "pickle.nested", nextConvert, "it loads a pickle out of bytes that are too many to be looked at, or come from a call")
		}
	case "torch._tensor._rebuild_from_type_v2":
		made := p.call(args.item(0), args.item(2))
		p.restored(made, args.item(3))
		return made
	case "copyreg._reconstructor":
		if args.item(0).kind != aGlobal || args.item(1).kind != aGlobal {
			p.found(Suspicious, "pickle.call", nextVet, "it makes something of a class that another call gave back, which can be anything")
		}
	case "copyreg.__newobj__":
		rest := &value{kind: aTuple}
		if args.kind == aTuple && len(args.items) > 1 {
			rest.hold(args.items[1:]...)
		}
		return p.call(args.item(0), rest)
	case "copyreg.__newobj_ex__":
		return p.call(args.item(0), args.item(1))
	case "builtins.type":
		of := args.item(0)
		if args.kind != aTuple || len(args.items) != 1 || of != nothing && (of.kind != aGlobal || of.text != "builtins.Ellipsis" && of.text != "builtins.NotImplemented") {
			p.found(Suspicious, "pickle.class", nextVet, "it makes a class, or asks for one, as models need not")
		}
	case joblibWrapper:
		if p.op != 0x81 || args.kind != aTuple || len(args.items) > 0 || p.inCall > 1 {
			p.found(Suspicious, "joblib.array", nextVet, "the wrapper of an array is made as joblib makes none: loaders differ in what they read behind it")
		}
	}
	return nil
}

// judge is the severity of importing module.name, and why.
func judge(module, name string) (Severity, string) {
	meaning, why := globals.Judge(module, name)
	return []Severity{globals.Known: Clean, globals.Unknown: Suspicious, globals.Acts: Malicious}[meaning], why
}

// within looks at bytes that begin as a pickle, whatever they are for.
func (p *pickle) within(v *value) {
	if t := v.text; len(t) > 2 && t[0] == 0x80 && 2 <= t[1] && t[1] <= 5 && (v.kind == someBytes || v.kind == aText) {
		p.nested([]byte(t), false)
	}
}

// encoded is what protocol 2 writes bytes as: a text, and latin1.
func (p *pickle) encoded(args, made *value) *value {
	if len(args.items) > 0 && args.items[0].kind == aText {
		codec := "utf-8"
		if len(args.items) > 1 {
			codec = strings.ToLower(args.items[1].text)
		}
		v := &value{kind: someBytes, text: args.items[0].text, whole: args.items[0].whole}
		switch codec {
		case "latin1", "latin-1":
			b := make([]byte, 0, len(v.text))
			for _, r := range v.text {
				b = append(b, byte(r))
			}
			v.text = string(b)
			fallthrough
		case "utf-8", "utf8", "ascii":
			p.within(v)
			return v
		}
	}
	p.found(Suspicious, "pickle.codec", nextVet, "it encodes with a codec that pickles have no use for, as one does to hide a text")
	return made
}
