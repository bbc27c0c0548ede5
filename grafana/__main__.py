"""`python -m grafana`: writes what the code says into `dashboards/` and `provisioning/alerting/rules.yaml`."""

from grafana.files import written

if __name__ == "__main__":
    for path in written():
        print(path)
