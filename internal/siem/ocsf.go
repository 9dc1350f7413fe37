package siem

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/pavise/pavise"
)

// Schema is the version of OCSF whose class Detection Finding the events are of.
// https://schema.ocsf.io/1.8.0/classes/detection_finding
const Schema = "1.8.0"

// The parts of an OCSF event that are always the same.
const (
	categoryUID = 2
	classUID    = 2004
	create      = 1 // activity: a finding was made
	update      = 2 // activity: more is known of it
	newFinding  = 1 // status
	denied      = 2 // action
	blocked     = 2 // disposition
	rule        = 1 // analytic type
)

// An ocsfEvent is a Detection Finding with the profile security_control. Times are
// Unix milliseconds.
type ocsfEvent struct {
	ActivityID    int            `json:"activity_id"`
	Activity      string         `json:"activity_name"`
	CategoryUID   int            `json:"category_uid"`
	Category      string         `json:"category_name"`
	ClassUID      int            `json:"class_uid"`
	Class         string         `json:"class_name"`
	TypeUID       int            `json:"type_uid"`
	Type          string         `json:"type_name"`
	Time          int64          `json:"time"`
	StartTime     int64          `json:"start_time,omitempty"`
	EndTime       int64          `json:"end_time,omitempty"`
	Count         uint64         `json:"count,omitempty"`
	SeverityID    Severity       `json:"severity_id"`
	Severity      string         `json:"severity"`
	StatusID      int            `json:"status_id"`
	Status        string         `json:"status"`
	IsAlert       bool           `json:"is_alert"`
	ActionID      int            `json:"action_id,omitempty"`
	Action        string         `json:"action,omitempty"`
	DispositionID int            `json:"disposition_id,omitempty"`
	Disposition   string         `json:"disposition,omitempty"`
	Message       string         `json:"message"`
	Metadata      ocsfMetadata   `json:"metadata"`
	FindingInfo   ocsfFinding    `json:"finding_info"`
	Evidences     []ocsfEvidence `json:"evidences"`
	Resources     []ocsfEntity   `json:"resources,omitempty"`
	Policy        *ocsfPolicy    `json:"policy,omitempty"`
}

type ocsfMetadata struct {
	Version   string      `json:"version"`
	UID       string      `json:"uid"`
	EventCode string      `json:"event_code"`
	LogName   string      `json:"log_name"`
	Sequence  uint64      `json:"sequence"`
	TenantUID string      `json:"tenant_uid"`
	Profiles  []string    `json:"profiles"`
	Product   ocsfProduct `json:"product"`
}

type ocsfProduct struct {
	Name    string `json:"name"`
	Vendor  string `json:"vendor_name"`
	Version string `json:"version"`
}

type ocsfFinding struct {
	UID         string        `json:"uid"`
	Title       string        `json:"title"`
	Desc        string        `json:"desc"`
	Types       []string      `json:"types"`
	DataSources []string      `json:"data_sources"`
	Created     int64         `json:"created_time"`
	FirstSeen   int64         `json:"first_seen_time"`
	LastSeen    int64         `json:"last_seen_time"`
	Analytic    *ocsfAnalytic `json:"analytic,omitempty"`
}

type ocsfAnalytic struct {
	Name   string `json:"name"`
	TypeID int    `json:"type_id"`
	Type   string `json:"type"`
}

type ocsfEvidence struct {
	UID    string        `json:"uid"`
	Name   string        `json:"name"`
	Data   ocsfProof     `json:"data"`
	Actor  *ocsfActor    `json:"actor,omitempty"`
	Source *ocsfEndpoint `json:"src_endpoint,omitempty"`
}

// An ocsfProof says which record bears a finding out, and how to prove it.
type ocsfProof struct {
	Log    string `json:"log"`
	Record uint64 `json:"record"`
	Prove  string `json:"prove"`
}

type ocsfActor struct {
	User ocsfUser `json:"user"`
}

type ocsfUser struct {
	Name   string `json:"name"`
	UID    string `json:"uid"`
	TypeID int    `json:"type_id"`
	Type   string `json:"type"`
}

type ocsfEndpoint struct {
	IP   string `json:"ip,omitempty"`
	Name string `json:"name,omitempty"`
}

type ocsfEntity struct {
	UID  string `json:"uid"`
	Name string `json:"name"`
	Type string `json:"type"`
}

type ocsfPolicy struct {
	UID     string `json:"uid"`
	Applied bool   `json:"is_applied"`
}

// A speller writes findings as events. It never changes.
type speller struct {
	origin  string // the log's name
	version string // of the product
}

// event writes a telling.
func (s speller) event(t telling) ocsfEvent {
	uid := fmt.Sprintf("%s#%d", s.origin, t.Record)
	e := ocsfEvent{
		ActivityID: create, Activity: "Create", CategoryUID: categoryUID, Category: "Findings", ClassUID: classUID, Class: "Detection Finding",
		Time: t.At.UnixMilli(), SeverityID: t.Severity, Severity: t.Severity.String(), StatusID: newFinding, Status: "New",
		IsAlert: t.Severity >= Medium, Message: t.Summary,
		Metadata: ocsfMetadata{
			Version: Schema, UID: s.id(t), EventCode: t.Kind, LogName: s.origin, Sequence: t.Record, TenantUID: t.tenant,
			Profiles: []string{"security_control"}, Product: ocsfProduct{"Pavise", "Pavise", s.version},
		},
		FindingInfo: ocsfFinding{
			UID: uid, Title: t.Title, Desc: t.Summary, Types: []string{t.Kind}, DataSources: []string{s.origin},
			Created: t.At.UnixMilli(), FirstSeen: t.At.UnixMilli(), LastSeen: t.last().UnixMilli(),
		},
		Evidences: []ocsfEvidence{{
			UID: uid, Name: "record of the evidence log", Actor: actor(t.Who), Source: endpoint(t.Source),
			Data: ocsfProof{s.origin, t.Record, fmt.Sprintf("pavise ledger prove %d", t.Record)},
		}},
	}
	if t.more {
		e.ActivityID, e.Activity = update, "Update"
	}
	e.TypeUID, e.Type = classUID*100+e.ActivityID, e.Class+": "+e.Activity
	if t.Count > 1 || t.more {
		e.Count, e.StartTime, e.EndTime = t.Count, t.At.UnixMilli(), t.last().UnixMilli()
	}
	if t.Blocked {
		e.ActionID, e.Action, e.DispositionID, e.Disposition = denied, "Denied", blocked, "Blocked"
	}
	if t.Check != "" {
		e.FindingInfo.Analytic = &ocsfAnalytic{t.Check, rule, "Rule"}
	}
	if t.On != nobody {
		e.Resources = []ocsfEntity{{t.On.String(), t.On.ID, t.On.Kind}}
	}
	if t.Policy != "" {
		e.Policy = &ocsfPolicy{t.Policy, true}
	}
	return e
}

// nobody is the name of nobody and nothing.
var nobody pavise.Name

// last is when the last of what is told was.
func (f *Finding) last() time.Time {
	if f.Last.After(f.At) {
		return f.Last
	}
	return f.At
}

// id is the same whenever the same is told. It has no dot, as Standard Webhooks asks.
func (s speller) id(t telling) string {
	what := fmt.Sprintf("%s\n%d\n%t\n%d", s.origin, t.Record, t.more, t.Count)
	sum := sha256.Sum256([]byte(what))
	return "msg_" + hex.EncodeToString(sum[:16])
}

// userTypes are OCSF's types of user, by the kind of principal.
var userTypes = map[string]struct {
	id   int
	word string
}{
	pavise.Human:    {1, "User"},
	pavise.Workload: {4, "Service"},
	pavise.Node:     {3, "System"},
}

func actor(who pavise.Name) *ocsfActor {
	if who == nobody {
		return nil
	}
	u := ocsfUser{Name: who.ID, UID: who.String(), TypeID: 99, Type: who.Kind}
	if t, ok := userTypes[who.Kind]; ok {
		u.TypeID, u.Type = t.id, t.word
	}
	return &ocsfActor{u}
}

func endpoint(source string) *ocsfEndpoint {
	if source == "" {
		return nil
	}
	if ip, err := netip.ParseAddr(source); err == nil {
		return &ocsfEndpoint{IP: ip.String()}
	}
	return &ocsfEndpoint{Name: source}
}

// line writes a telling as a line of JSON, the end of line included.
func (s speller) line(t telling) []byte {
	text, _ := json.Marshal(s.event(t)) // cannot fail: strings, numbers and lists of them
	return append(text, '\n')
}

// A message is the body of a webhook, as Standard Webhooks recommends it.
type message struct {
	Type      string    `json:"type"`
	Timestamp string    `json:"timestamp"`
	Data      ocsfEvent `json:"data"`
}

// The types of message.
const (
	typeCreated = "finding.created"
	typeUpdated = "finding.updated"
)

// body writes a telling as the body of a webhook.
func (s speller) body(t telling) []byte {
	m := message{typeCreated, t.At.UTC().Format(time.RFC3339Nano), s.event(t)}
	if t.more {
		m.Type = typeUpdated
	}
	text, _ := json.Marshal(m) // as above
	return text
}
