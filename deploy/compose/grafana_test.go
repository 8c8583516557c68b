package compose

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/grafana/grafana-foundation-sdk/go/units"
	"gopkg.in/yaml.v3"
)

const dashboards = "deploy/grafana/dashboards"

// model is the form that the stack's Grafana reads; the SDK prefers a newer one.
type model = dashboard.Dashboard //nolint:staticcheck // see above

// decodeDashboard reads a dashboard into Grafana's own types. Unknown fields are errors,
// also in the options of a panel and in a query.
func decodeDashboard(content string) (model, error) {
	runtime := cog.NewRuntime()
	runtime.RegisterPanelcfgVariant(stat.VariantConfig())
	runtime.RegisterPanelcfgVariant(table.VariantConfig())
	runtime.RegisterPanelcfgVariant(timeseries.VariantConfig())
	runtime.RegisterDataqueryVariant(prometheus.VariantConfig())
	var d model
	// It may return an empty list as an error, and stop there.
	var mistakes cog.BuildErrors
	if err := new(model).UnmarshalJSONStrict([]byte(content)); err != nil && (!errors.As(err, &mistakes) || len(mistakes) > 0) {
		return d, err
	}
	if err := json.Unmarshal([]byte(content), &d); err != nil {
		return d, err
	}
	return d, d.Validate()
}

// onEachDashboard runs a test on each provisioned dashboard.
func onEachDashboard(t *testing.T, f func(t *testing.T, d model)) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, dashboards, "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("dashboards %q, %v", paths, err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			d, err := decodeDashboard(read(t, filepath.Join(dashboards, filepath.Base(path))))
			if err != nil {
				t.Fatal(err)
			}
			if len(d.Panels) == 0 {
				t.Fatal("it is empty")
			}
			f(t, d)
		})
	}
}

// queries returns the queries of a panel.
func queries(t *testing.T, p *dashboard.Panel) []*prometheus.Dataquery {
	t.Helper()
	var list []*prometheus.Dataquery
	for _, q := range p.Targets {
		query, ok := q.(*prometheus.Dataquery)
		if !ok {
			t.Fatalf("%q has a query of type %T", *p.Title, q)
		}
		list = append(list, query)
	}
	return list
}

// TestDashboardUsesChosenSource checks that each panel queries the source chosen above
// it, which the stack provides, and has a unit that Grafana knows.
func TestDashboardUsesChosenSource(t *testing.T) {
	known := []string{units.Short, units.Seconds, units.BytesIEC, units.BytesPerSecondSI, units.OpsPerSecond, units.RequestsPerSecond, units.PercentUnit}
	var provided struct {
		Datasources []struct{ Type, URL string }
	}
	if err := yaml.Unmarshal([]byte(read(t, "deploy/grafana/provisioning/datasources/prometheus.yml")), &provided); err != nil {
		t.Fatal(err)
	}
	if len(provided.Datasources) != 1 || provided.Datasources[0].Type != "prometheus" {
		t.Fatalf("the stack provides %+v", provided)
	}
	if _, service := load(t, nil).Services["prometheus"]; !service || provided.Datasources[0].URL != "http://prometheus:9090" {
		t.Errorf("the stack's Prometheus is not at %s", provided.Datasources[0].URL)
	}
	onEachDashboard(t, func(t *testing.T, d model) {
		chosen := map[string]bool{}
		for _, v := range d.Templating.List {
			if v.Type == dashboard.VariableTypeDatasource && v.Query != nil && v.Query.String != nil && *v.Query.String == "prometheus" {
				chosen["${"+v.Name+"}"] = true
			}
		}
		asks := func(title string, ref *common.DataSourceRef) {
			if ref == nil || ref.Uid == nil || !chosen[*ref.Uid] || ref.Type == nil || *ref.Type != "prometheus" {
				t.Errorf("%q queries %+v, want one of %v", title, ref, chosen)
			}
		}
		for _, p := range d.Panels {
			if p.Panel == nil {
				continue
			}
			title := *p.Panel.Title
			asks(title, p.Panel.Datasource)
			for _, query := range queries(t, p.Panel) {
				asks(title, query.Datasource)
			}
			if p.Panel.Type == "table" {
				continue // Versions have no unit.
			}
			if u := p.Panel.FieldConfig.Defaults.Unit; u == nil || !slices.Contains(known, *u) {
				t.Errorf("%q has no unit that Grafana knows", title)
			}
		}
	})
}
