"""`python -m grafana`: writes what the code says into `dashboards/` and `provisioning/alerting/rules.yaml`."""

from grafana.files import write_files

if __name__ == "__main__":
    for path in write_files():
        print(path)
