// AMD's bulletins and what each asks of a report (SPEC §13). Made by build.py from tee/tcb.json.

export const TCB_DATA = {
  "format": "saferouter/tcb/v1",
  "sequence": 1,
  "issued": 1795219200,
  "expires": 1810857600,
  "steppings": [
    {
      "name": "Milan B1",
      "product": "Milan",
      "model": 1,
      "stepping": 1
    },
    {
      "name": "Milan B2",
      "product": "Milan",
      "model": 1,
      "stepping": 2
    },
    {
      "name": "Genoa B1",
      "product": "Genoa",
      "model": 17,
      "stepping": 1
    },
    {
      "name": "Genoa-X",
      "product": "Genoa",
      "model": 17,
      "stepping": 2
    }
  ],
  "bulletins": [
    {
      "id": "AMD-SB-3015",
      "title": "BadRAM",
      "published": "2024-12",
      "status_below": "revoked",
      "smt_off_answers": false,
      "requirements": [
        {
          "product": "Milan",
          "stepping": null,
          "floor": {
            "snp": 23
          },
          "platform": [
            "alias-check-complete"
          ],
          "mitigation_bits": [],
          "withdrawn": null
        },
        {
          "product": "Genoa",
          "stepping": null,
          "floor": {
            "snp": 22
          },
          "platform": [
            "alias-check-complete"
          ],
          "mitigation_bits": [],
          "withdrawn": null
        }
      ],
      "not_proven": {},
      "note": null
    },
    {
      "id": "AMD-SB-3019",
      "title": "EntrySign",
      "published": "2025-02",
      "status_below": "revoked",
      "smt_off_answers": false,
      "requirements": [
        {
          "product": "Milan",
          "stepping": null,
          "floor": {
            "snp": 24
          },
          "platform": [],
          "mitigation_bits": [],
          "withdrawn": null
        },
        {
          "product": "Milan",
          "stepping": "Milan B1",
          "floor": {
            "microcode": 219
          },
          "platform": [],
          "mitigation_bits": [],
          "withdrawn": null
        },
        {
          "product": "Genoa",
          "stepping": null,
          "floor": {
            "snp": 23
          },
          "platform": [],
          "mitigation_bits": [],
          "withdrawn": null
        },
        {
          "product": "Genoa",
          "stepping": "Genoa B1",
          "floor": {
            "microcode": 84
          },
          "platform": [],
          "mitigation_bits": [],
          "withdrawn": null
        },
        {
          "product": "Genoa",
          "stepping": "Genoa-X",
          "floor": {
            "microcode": 79
          },
          "platform": [],
          "mitigation_bits": [],
          "withdrawn": null
        }
      ],
      "not_proven": {},
      "note": null
    },
    {
      "id": "AMD-SB-3020",
      "title": "RMPocalypse",
      "published": "2025-10",
      "status_below": "needs-update",
      "smt_off_answers": false,
      "requirements": [
        {
          "product": "Milan",
          "stepping": null,
          "floor": {},
          "platform": [],
          "mitigation_bits": [
            1
          ],
          "withdrawn": null
        },
        {
          "product": "Genoa",
          "stepping": null,
          "floor": {
            "snp": 27
          },
          "platform": [],
          "mitigation_bits": [],
          "withdrawn": null
        },
        {
          "product": "Genoa",
          "stepping": "Genoa B1",
          "floor": {
            "microcode": 86
          },
          "platform": [],
          "mitigation_bits": [],
          "withdrawn": null
        },
        {
          "product": "Genoa",
          "stepping": "Genoa-X",
          "floor": {
            "microcode": 81
          },
          "platform": [],
          "mitigation_bits": [],
          "withdrawn": null
        },
        {
          "product": "Turin",
          "stepping": null,
          "floor": {
            "snp": 4,
            "microcode": 80
          },
          "platform": [],
          "mitigation_bits": [],
          "withdrawn": null
        }
      ],
      "not_proven": {},
      "note": null
    },
    {
      "id": "AMD-SB-3027",
      "title": "StackWarp",
      "published": "2026-01",
      "status_below": "needs-update",
      "smt_off_answers": true,
      "requirements": [
        {
          "product": "Milan",
          "stepping": "Milan B1",
          "floor": {
            "microcode": 222
          },
          "platform": [],
          "mitigation_bits": [],
          "withdrawn": null
        },
        {
          "product": "Milan",
          "stepping": "Milan B2",
          "floor": {
            "microcode": 71
          },
          "platform": [],
          "mitigation_bits": [],
          "withdrawn": null
        },
        {
          "product": "Genoa",
          "stepping": "Genoa B1",
          "floor": {
            "microcode": 86
          },
          "platform": [],
          "mitigation_bits": [],
          "withdrawn": null
        },
        {
          "product": "Genoa",
          "stepping": "Genoa-X",
          "floor": {
            "microcode": 81
          },
          "platform": [],
          "mitigation_bits": [],
          "withdrawn": null
        },
        {
          "product": "Turin",
          "stepping": null,
          "floor": {
            "microcode": 81
          },
          "platform": [],
          "mitigation_bits": [],
          "withdrawn": null
        }
      ],
      "not_proven": {},
      "note": null
    },
    {
      "id": "AMD-SB-3016",
      "title": "IOMMU writes",
      "published": null,
      "status_below": "needs-update",
      "smt_off_answers": false,
      "requirements": [
        {
          "product": "Milan",
          "stepping": null,
          "floor": {
            "snp": 27
          },
          "platform": [
            "iommu-write-safe"
          ],
          "mitigation_bits": [
            2
          ],
          "withdrawn": null
        },
        {
          "product": "Genoa",
          "stepping": null,
          "floor": {
            "snp": 27
          },
          "platform": [
            "iommu-write-safe"
          ],
          "mitigation_bits": [],
          "withdrawn": null
        }
      ],
      "not_proven": {},
      "note": "It also asks for an update of the host's operating system, which no report shows."
    },
    {
      "id": "AMD-SB-3030",
      "title": "BreakFAST",
      "published": "2026-05",
      "status_below": "needs-update",
      "smt_off_answers": false,
      "requirements": [
        {
          "product": "Milan",
          "stepping": null,
          "floor": {
            "snp": 29
          },
          "platform": [],
          "mitigation_bits": [
            4
          ],
          "withdrawn": null
        }
      ],
      "not_proven": {},
      "note": null
    },
    {
      "id": "AMD-SB-3034",
      "title": "Fabricked",
      "published": null,
      "status_below": "needs-update",
      "smt_off_answers": false,
      "requirements": [
        {
          "product": "Genoa",
          "stepping": null,
          "floor": {
            "snp": 28
          },
          "platform": [],
          "mitigation_bits": [],
          "withdrawn": "2026-09-24"
        }
      ],
      "not_proven": {},
      "note": null
    },
    {
      "id": "AMD-SB-3045",
      "title": "MilanLaunchy and BadFuse",
      "published": "2026-05",
      "status_below": "needs-update",
      "smt_off_answers": false,
      "requirements": [],
      "not_proven": {
        "Milan": "software on a Milan host could read the seed of the chip's signing keys; no update takes back a seed that was read, and whoever holds it signs any report, of any version"
      },
      "note": "Closed by MilanPI 1.0.0.3, which no field of a report names."
    }
  ]
};
