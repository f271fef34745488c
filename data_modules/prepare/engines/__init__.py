"""Where rows are joined, grouped and sorted: in this process by DuckDB, or on Spark."""

from typing import Literal

from data_modules.prepare.engines.base import Engine

EngineName = Literal["duckdb", "spark"]

__all__ = ["Engine", "EngineName"]
