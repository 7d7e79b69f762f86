# SPDX-License-Identifier: Apache-2.0
"""Tiny data sets in the real on-disk formats."""

import csv

import h5py
import numpy as np

from conjoin.biosignal.data import LEADS


def signal(seed, length=1000, leads=12):
    """A recording (leads, length) in millivolts, whole microvolts."""
    rng = np.random.default_rng(seed)
    return np.round(rng.normal(0, 0.3, (leads, length)).cumsum(axis=1) * 0.05, 3)


def write_record(path, millivolts, rate=500, names=LEADS, gain=1000.0, baseline=0, comments=(), form="16"):
    """A WFDB record in format 16, header and data beside each other."""
    stored = np.round(millivolts * gain + baseline)
    stored = np.where(np.isnan(millivolts), -32768, stored).astype("<i2")
    path.parent.mkdir(parents=True, exist_ok=True)
    offset = int(form.partition("+")[2] or 0)
    path.with_suffix(".dat").write_bytes(bytes(offset) + stored.T.tobytes())
    lines = [f"{path.name} {len(names)} {rate} {millivolts.shape[1]}"]
    for name, row in zip(names, stored, strict=True):
        checksum = int(row.astype(np.int64).sum()) % 65536
        lines.append(f"{path.name}.dat {form} {gain:.1f}({baseline})/mV 16 0 {row[0]} {checksum} 0 {name}")
    lines += [f"# {comment}" for comment in comments]
    path.with_suffix(".hea").write_text("\n".join(lines) + "\n")


def write_csv(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


STATEMENTS = {  # code: diagnostic, form, rhythm, class, subclass
    "NORM": ("1.0", "", "", "NORM", "NORM"),
    "IMI": ("1.0", "", "", "MI", "IMI"),
    "AMI": ("1.0", "", "", "MI", "AMI"),
    "NDT": ("1.0", "1.0", "", "STTC", "STTC"),
    "SR": ("", "", "1.0", "", ""),
    "AFIB": ("", "", "1.0", "", ""),
}


def write_ptbxl(root, rows, rate=100):
    """Rows of (patient, codes, fold); records100 alone."""
    table = []
    for number, (patient, codes, fold) in enumerate(rows, start=1):
        name = f"records{rate}/00000/{number:05d}_{'lr' if rate == 100 else 'hr'}"
        write_record(root / name, signal(number, 10 * rate), rate)
        table.append(
            {
                "ecg_id": number,
                "patient_id": float(patient),
                "scp_codes": repr(codes),
                "strat_fold": fold,
                "filename_lr": name if rate == 100 else "",
                "filename_hr": name if rate == 500 else "",
            }
        )
    write_csv(root / "ptbxl_database.csv", table)
    columns = ("diagnostic", "form", "rhythm", "diagnostic_class", "diagnostic_subclass")
    statements = [{"": code, **dict(zip(columns, row, strict=True))} for code, row in STATEMENTS.items()]
    write_csv(root / "scp_statements.csv", statements)


def write_code15(root, exams):
    """Exams of (id, patient, file, padding, conditions)."""
    files, rows = {}, []
    for exam, patient, name, padding, conditions in exams:
        x = np.random.default_rng(exam).normal(0, 0.5, (4096, 12)).astype(np.float32)
        if padding:
            x[:padding] = x[-padding:] = 0
        files.setdefault(name, []).append((exam, x))
        flags = {c: str(c in conditions) for c in ("1dAVb", "RBBB", "LBBB", "SB", "ST", "AF")}
        rows.append({"exam_id": exam, "patient_id": patient, "trace_file": name, **flags})
    write_csv(root / "exams.csv", rows)
    for name, content in files.items():
        with h5py.File(root / name, "w") as file:
            file["exam_id"] = np.array([exam for exam, _ in content])
            file["tracings"] = np.stack([x for _, x in content])
