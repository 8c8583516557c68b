// Package prometheus tests the alerts in this folder and the queries of the dashboards.
package prometheus
