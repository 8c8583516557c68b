package tasks_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/klinghook/klinghook/tasks"
)

func TestDecimal(t *testing.T) {
	for text, want := range map[string]string{
		"0": "0", "-0.0": "0", "1": "1", "+1.50": "1.5", "007": "7", "0.1": "0.1", ".5": "0.5", "5.": "5", "1e2": "100", "15E-1": "1.5", "-2.50": "-2.5",
		"0.300000000000000000001": "0.3", "999999999999999999": "999999999999999999", "0.000000000000000001": "0.000000000000000001",
		"1000000000000000000": "", "1e99": "", "1e999999999": "", "": "", "1,5": "", "0x10": "", "1/2": "", "NaN": "", "Inf": "", "1_0": "", "$1": "",
		strings.Repeat("1", 1000): "", "\t1": "",
	} {
		if got, ok := tasks.Decimal(text); ok != (want != "") || ok && got != want {
			t.Errorf("Decimal(%q) = %q, %t, want %q", text, got, ok, want)
		}
	}
}

func TestCostsAreAddedExactly(t *testing.T) {
	usd := func(amount string) tasks.Cost { return tasks.Cost{Amount: amount, Unit: "USD", Kind: "cash"} }
	units := func(amount string) tasks.Cost { return tasks.Cost{Amount: amount, Unit: "unit", Kind: "unit"} }
	sum := tasks.SumCosts([]tasks.Cost{usd("0.1"), units("3"), usd("0.2")})
	if diff := cmp.Diff([]tasks.Cost{usd("0.3"), units("3")}, sum); diff != "" {
		t.Errorf("SumCosts (-want +got)\n%s", diff)
	}
	grown := tasks.CostIncrease([]tasks.Cost{usd("0.1"), units("5")}, sum)
	if diff := cmp.Diff([]tasks.Cost{usd("0.2")}, grown); diff != "" {
		t.Errorf("CostIncrease (-want +got)\n%s", diff)
	}
}
