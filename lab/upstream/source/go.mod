module dcgm-exporter.lab

go 1.26.0

toolchain go1.26.2
