"""The seams: Protocols only. A seam exists when it has a second implementation; memory counts."""
